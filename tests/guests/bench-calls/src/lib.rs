//! Both ends of the calls that the benchmark times: `echo` gives back what it is given, and `run` calls the `echo` that
//! it is linked to and says how long each call took.

use std::time::Instant;

wit_bindgen::generate!({
    inline: "
        package wattle:bench@0.1.0;

        interface echo {
            echo: func(text: string) -> string;
        }

        interface run {
            /// Nanoseconds of each of so many calls, one after another, with so many bytes.
            run: func(calls: u32, bytes: u32) -> list<u64>;
        }

        world bench {
            import echo;
            export echo;
            export run;
        }
    ",
});

struct Bench;

export!(Bench);

impl exports::wattle::bench::echo::Guest for Bench {
    fn echo(text: String) -> String {
        text
    }
}

impl exports::wattle::bench::run::Guest for Bench {
    fn run(calls: u32, bytes: u32) -> Vec<u64> {
        let text = "x".repeat(bytes as usize);
        (0..calls)
            .map(|_| {
                let began = Instant::now();
                let back = wattle::bench::echo::echo(&text);
                assert_eq!(back.len(), text.len(), "the echo is as long as the call");
                u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
            })
            .collect()
    }
}
