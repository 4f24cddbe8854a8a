//! Packets that are not quite what was sent.

/// The packet once for each of its bytes, with a bit of that byte changed: another one from byte to byte, so that all
/// eight occur everywhere.
pub(crate) fn flipped(packet: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..packet.len()).map(|place| {
        let mut packet = packet.to_vec();
        packet[place] ^= 1 << (place % 8);
        packet
    })
}

/// The packet cut before each of its bytes.
pub(crate) fn cut(packet: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..packet.len()).map(|length| packet[..length].to_vec())
}
