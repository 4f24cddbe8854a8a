//! Takes and gives streams and futures, as `acme:streams/mill`; and sends some to whoever is linked, as
//! `acme:streams/runs`, and says what came back.

use wit_bindgen::rt::async_support::{FutureReader, StreamReader, StreamResult};
use wit_bindgen::spawn_local;

wit_bindgen::generate!({
    inline: "
        package acme:streams;

        interface mill {
            /// What is given, as it is.
            pass: async func(data: stream<u8>) -> stream<u8>;
            /// Each byte plus one, in pieces as they come.
            grind: async func(data: stream<u8>) -> stream<u8>;
            /// How many bytes there were, and their sum.
            weigh: async func(data: stream<u8>) -> tuple<u64, u64>;
            /// Each text twice.
            twice: async func(texts: stream<string>) -> stream<string>;
            /// Those that are there, negated.
            negate: async func(numbers: stream<option<f64>>) -> stream<option<f64>>;
            /// The text in brackets, when it comes.
            wrap: async func(text: future<string>) -> future<string>;
            /// Some bytes, and then nothing more without an end: it traps.
            break-off: async func() -> stream<u8>;
        }

        interface runs {
            /// Sends so many bytes through `pass` or `grind` and compares: how many came back.
            bytes: async func(through: string, count: u64) -> result<u64, string>;
            weigh: async func(count: u64) -> tuple<u64, u64>;
            texts: async func(count: u32) -> result<u32, string>;
            numbers: async func(count: u32) -> result<u32, string>;
            later: async func(text: string) -> string;
            /// How many bytes came before the end; the call fails where there was none.
            broken: async func() -> u64;
        }

        world guest {
            import mill;
            export mill;
            export runs;
        }
    ",
    generate_all,
});

use acme::streams::mill as linked;
use exports::acme::streams::{mill, runs};

const CHUNK: usize = 16 * 1024;

struct Mill;

export!(Mill);

impl mill::Guest for Mill {
    async fn pass(data: StreamReader<u8>) -> StreamReader<u8> {
        data
    }

    async fn grind(mut data: StreamReader<u8>) -> StreamReader<u8> {
        let (mut to, ground) = wit_stream::new();
        spawn_local(async move {
            while let Some(mut chunk) = next(&mut data, CHUNK).await {
                chunk.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                if !to.write_all(chunk).await.is_empty() {
                    return;
                }
            }
        });
        ground
    }

    async fn weigh(mut data: StreamReader<u8>) -> (u64, u64) {
        let (mut count, mut sum) = (0, 0);
        while let Some(chunk) = next(&mut data, CHUNK).await {
            count += chunk.len() as u64;
            sum += chunk.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        (count, sum)
    }

    async fn twice(mut texts: StreamReader<String>) -> StreamReader<String> {
        let (mut to, doubled) = wit_stream::new();
        spawn_local(async move {
            while let Some(chunk) = next(&mut texts, 8).await {
                let chunk = chunk.into_iter().map(|text| text.repeat(2)).collect();
                if !to.write_all(chunk).await.is_empty() {
                    return;
                }
            }
        });
        doubled
    }

    async fn negate(mut numbers: StreamReader<Option<f64>>) -> StreamReader<Option<f64>> {
        let (mut to, negated) = wit_stream::new();
        spawn_local(async move {
            while let Some(chunk) = next(&mut numbers, 64).await {
                let chunk = chunk.into_iter().map(|number| number.map(|number| -number)).collect();
                if !to.write_all(chunk).await.is_empty() {
                    return;
                }
            }
        });
        negated
    }

    async fn wrap(text: FutureReader<String>) -> FutureReader<String> {
        let (to, wrapped) = wit_future::new(String::new);
        spawn_local(async move {
            let text = text.await;
            let _ = to.write(format!("({text})")).await;
        });
        wrapped
    }

    async fn break_off() -> StreamReader<u8> {
        let (mut to, data) = wit_stream::new();
        spawn_local(async move {
            let _ = to.write_all(vec![7; CHUNK]).await;
            std::process::abort();
        });
        data
    }
}

impl runs::Guest for Mill {
    async fn bytes(through: String, count: u64) -> Result<u64, String> {
        let data = bytes(count);
        let (mut back, more) = match through.as_str() {
            "pass" => (linked::pass(data).await, 0),
            _ => (linked::grind(data).await, 1),
        };
        let mut read = 0;
        while let Some(chunk) = next(&mut back, CHUNK).await {
            for byte in chunk {
                let expected = pattern(read).wrapping_add(more);
                if byte != expected {
                    return Err(format!("byte {read} is {byte} and not {expected}"));
                }
                read += 1;
            }
        }
        Ok(read)
    }

    async fn weigh(count: u64) -> (u64, u64) {
        linked::weigh(bytes(count)).await
    }

    async fn texts(count: u32) -> Result<u32, String> {
        let (mut to, texts) = wit_stream::new();
        spawn_local(async move {
            for number in 0..count {
                if !to.write_all(vec![format!("text {number}, ")]).await.is_empty() {
                    return;
                }
            }
        });
        let mut back = linked::twice(texts).await;
        let mut read = 0;
        while let Some(chunk) = next(&mut back, 8).await {
            for text in chunk {
                let expected = format!("text {read}, text {read}, ");
                if text != expected {
                    return Err(format!("{text:?} and not {expected:?}"));
                }
                read += 1;
            }
        }
        Ok(read)
    }

    async fn numbers(count: u32) -> Result<u32, String> {
        let number = |place: u32| (place % 3 != 0).then(|| f64::from(place));
        let (mut to, numbers) = wit_stream::new();
        spawn_local(async move {
            let _ = to.write_all((0..count).map(number).collect()).await;
        });
        let mut back = linked::negate(numbers).await;
        let mut read = 0;
        while let Some(chunk) = next(&mut back, 64).await {
            for got in chunk {
                let expected = number(read).map(|number| -number);
                if got != expected {
                    return Err(format!("{got:?} and not {expected:?}"));
                }
                read += 1;
            }
        }
        Ok(read)
    }

    async fn later(text: String) -> String {
        let (to, reader) = wit_future::new(String::new);
        spawn_local(async move {
            let _ = to.write(text).await;
        });
        linked::wrap(reader).await.await
    }

    async fn broken() -> u64 {
        let mut data = linked::break_off().await;
        let mut read = 0;
        while let Some(chunk) = next(&mut data, CHUNK).await {
            read += chunk.len() as u64;
        }
        read
    }
}

/// What came, in one piece; nothing after the end.
async fn next<T>(from: &mut StreamReader<T>, most: usize) -> Option<Vec<T>> {
    loop {
        let (result, chunk) = from.read(Vec::with_capacity(most)).await;
        if !chunk.is_empty() {
            return Some(chunk);
        }
        if !matches!(result, StreamResult::Complete(_)) {
            return None;
        }
    }
}

/// So many bytes that differ from each other, so that none can be lost or swapped unnoticed.
fn bytes(count: u64) -> StreamReader<u8> {
    let (mut to, data) = wit_stream::new();
    spawn_local(async move {
        let mut sent = 0;
        while sent < count {
            let end = count.min(sent + CHUNK as u64);
            if !to.write_all((sent..end).map(pattern).collect()).await.is_empty() {
                return;
            }
            sent = end;
        }
    });
    data
}

fn pattern(place: u64) -> u8 {
    (place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}
