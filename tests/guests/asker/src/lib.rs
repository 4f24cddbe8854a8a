//! Asks whoever is linked, by the default link or by one that it chooses, with both versions of the interface for that.

wit_bindgen::generate!({
    inline: "
        package acme:guest;

        world guest {
            import wasmcloud:bus/lattice@1.0.0;
            import wasmcloud:bus/lattice@2.0.0;
            import acme:calls/words;
            export acme:calls/asker;
        }

        package acme:calls {
            interface words {
                say: func() -> string;
            }

            interface asker {
                /// By the default link.
                ask: func() -> string;
                /// By the link of this name; what refuses it is given back.
                ask-by: func(name: string) -> result<string, string>;
                /// The same with version 1.0.0, which refuses nothing.
                ask-by-old: func(name: string) -> string;
                /// By the default link, by the one of this name, and by the default link again.
                ask-in-turn: func(name: string) -> tuple<string, string, string>;
            }
        }

        package wasmcloud:bus@1.0.0 {
            interface lattice {
                resource call-target-interface {
                    constructor(namespace: string, %package: string, %interface: string);
                }
                set-link-name: func(name: string, interfaces: list<call-target-interface>);
            }
        }

        package wasmcloud:bus@2.0.0 {
            interface lattice {
                resource call-target-interface {
                    constructor(namespace: string, %package: string, %interface: string);
                }
                set-link-name: func(name: string, interfaces: list<call-target-interface>) -> result<_, string>;
            }
        }
    ",
    generate_all,
});

use acme::calls::words::say;
use exports::acme::calls::asker::Guest;
use wasmcloud::{bus1_0_0::lattice as old, bus2_0_0::lattice as new};

struct Asker;

export!(Asker);

impl Guest for Asker {
    fn ask() -> String {
        say()
    }

    fn ask_by(name: String) -> Result<String, String> {
        choose(&name)?;
        Ok(say())
    }

    fn ask_by_old(name: String) -> String {
        old::set_link_name(&name, vec![old::CallTargetInterface::new("acme", "calls", "words")]);
        say()
    }

    fn ask_in_turn(name: String) -> (String, String, String) {
        let first = say();
        choose(&name).expect("there is a link of this name");
        let second = say();
        choose("default").expect("the default can always be chosen");
        (first, second, say())
    }
}

fn choose(name: &str) -> Result<(), String> {
    new::set_link_name(name, vec![new::CallTargetInterface::new("acme", "calls", "words")])
}
