//! Components that differ in what they say.

/// Another version of a component: one that says `to` where this one says `from`, a text of the same length.
///
/// # Panics
/// When the text is not in the component exactly once.
pub fn reworded(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "`{from}` and `{to}` differ in length");
    let places: Vec<usize> = component
        .windows(from.len())
        .enumerate()
        .filter_map(|(place, window)| (window == from.as_bytes()).then_some(place))
        .collect();
    assert_eq!(places.len(), 1, "`{from}` is {} times in the component", places.len());
    let mut reworded = component.to_vec();
    reworded[places[0]..places[0] + to.len()].copy_from_slice(to.as_bytes());
    reworded
}
