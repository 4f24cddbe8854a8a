//! Random types in WIT, and random values of them in WAVE, from a seed that is printed.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use wattle_tests::Contract;

/// How deep types go: a list of records of options of tuples is four deep.
const DEPTH: u32 = 4;

/// Random numbers that a seed gives again.
pub(crate) struct Random(u64);

impl Random {
    /// From the seed in the environment (`WATTLE_TEST_SEED`), else from a new one; prints which.
    pub(crate) fn new() -> Self {
        let named = std::env::var("WATTLE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = named.unwrap_or_else(|| RandomState::new().hash_one(0));
        println!("the types and values of WATTLE_TEST_SEED={seed}");
        Self(seed)
    }

    /// The next number (SplitMix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    fn yes(&mut self) -> bool {
        self.below(2) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Any type that a value may have.
#[derive(Clone, Debug)]
pub(crate) enum Type {
    /// `bool`, `char`, `string`, and numbers, by name.
    Plain(&'static str),
    List(Box<Type>),
    FixedList(Box<Type>, usize),
    Option(Box<Type>),
    Result(Option<Box<Type>>, Option<Box<Type>>),
    Tuple(Vec<Type>),
    Map(&'static str, Box<Type>),
    Record(String, Vec<Type>),
    Variant(String, Vec<Option<Type>>),
    Enum(String, usize),
    Flags(String, usize),
}

const PLAIN: [&str; 13] =
    ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"];
/// What a map's keys may be.
const KEYS: [&str; 11] = ["bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "char", "string"];
/// How many kinds [`Types::of_kind`] knows.
pub(crate) const KINDS: usize = 11;

/// Makes types, and keeps the definitions of those that WIT wants named.
pub(crate) struct Types<'a> {
    random: &'a mut Random,
    contract: Contract,
}

impl<'a> Types<'a> {
    pub(crate) fn new(random: &'a mut Random) -> Self {
        Self { random, contract: Contract::default() }
    }

    /// A type whose outermost kind is that of this number, so that a test can have every kind.
    pub(crate) fn of_kind(&mut self, kind: usize) -> Type {
        self.kind(kind, DEPTH)
    }

    fn any(&mut self, depth: u32) -> Type {
        let kind = if depth == 0 { 0 } else { self.random.below(KINDS) };
        self.kind(kind, depth)
    }

    fn kind(&mut self, kind: usize, depth: u32) -> Type {
        let depth = depth.saturating_sub(1);
        match kind % KINDS {
            0 => Type::Plain(self.random.pick(&PLAIN)),
            1 => Type::List(Box::new(self.any(depth))),
            2 => {
                let length = self.random.between(1, 4);
                Type::FixedList(Box::new(self.any(depth)), length)
            }
            3 => Type::Option(Box::new(self.any(depth))),
            4 => {
                let mut side = || self.random.yes().then(|| Box::new(Type::Plain("bool")));
                let (ok, err) = (side(), side());
                let mut fill = |side: Option<Box<Type>>| side.map(|_| Box::new(self.any(depth)));
                Type::Result(fill(ok), fill(err))
            }
            5 => {
                let length = self.random.between(1, 4);
                Type::Tuple((0..length).map(|_| self.any(depth)).collect())
            }
            6 => {
                let key = self.random.pick(&KEYS);
                Type::Map(key, Box::new(self.any(depth)))
            }
            7 => self.record(depth),
            8 => self.variant(depth),
            // More than 256 cases take two bytes.
            9 => {
                let cases = if self.random.below(4) == 0 { 300 } else { self.random.between(1, 9) };
                self.define("enum", cases, |case| format!("case-{case}"))
            }
            _ => {
                let labels = self.random.between(1, 32);
                self.define("flags", labels, |label| format!("label-{label}"))
            }
        }
    }

    fn record(&mut self, depth: u32) -> Type {
        let length = self.random.between(1, 5);
        let fields: Vec<Type> = (0..length).map(|_| self.any(depth)).collect();
        let text: Vec<_> =
            fields.iter().enumerate().map(|(place, of)| format!("field-{place}: {}", of.wit())).collect();
        let name = self.named("record", &text.join(", "));
        Type::Record(name, fields)
    }

    fn variant(&mut self, depth: u32) -> Type {
        let length = self.random.between(1, 5);
        let cases: Vec<Option<Type>> = (0..length)
            .map(|_| self.random.below(4))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|bare| (bare != 0).then(|| self.any(depth)))
            .collect();
        let text: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(place, of)| match of {
                Some(of) => format!("case-{place}({})", of.wit()),
                None => format!("case-{place}"),
            })
            .collect();
        let name = self.named("variant", &text.join(", "));
        Type::Variant(name, cases)
    }

    fn define(&mut self, kind: &str, length: usize, label: impl Fn(usize) -> String) -> Type {
        let labels: Vec<_> = (0..length).map(label).collect();
        let name = self.named(kind, &labels.join(", "));
        if kind == "enum" { Type::Enum(name, length) } else { Type::Flags(name, length) }
    }

    fn named(&mut self, kind: &str, text: &str) -> String {
        let name = format!("{kind}-n{}", self.contract.names.len());
        self.contract.items.push(format!("{kind} {name} {{ {text} }}"));
        self.contract.names.push(name.clone());
        name
    }

    /// A record of this and so much more that it does not fit into a call's sixteen core values.
    pub(crate) fn wide(&mut self, of: &Type) -> Type {
        let fields = vec![of.clone(), Type::Tuple(vec![Type::Plain("s64"); 16])];
        let text: Vec<_> =
            fields.iter().enumerate().map(|(place, of)| format!("field-{place}: {}", of.wit())).collect();
        let name = self.named("record", &text.join(", "));
        Type::Record(name, fields)
    }

    /// Adds a function, such as `func(v: u8) -> u8` under the name.
    pub(crate) fn function(&mut self, name: &str, text: &str) {
        self.contract.functions.push(format!("{name}: {text};"));
    }

    pub(crate) fn finish(self) -> Contract {
        self.contract
    }
}

impl Type {
    /// As WIT writes it.
    pub(crate) fn wit(&self) -> String {
        match self {
            Self::Plain(name) => (*name).to_owned(),
            Self::List(of) => format!("list<{}>", of.wit()),
            Self::FixedList(of, length) => format!("list<{}, {length}>", of.wit()),
            Self::Option(of) => format!("option<{}>", of.wit()),
            Self::Result(None, None) => "result".to_owned(),
            Self::Result(Some(ok), None) => format!("result<{}>", ok.wit()),
            Self::Result(ok, Some(err)) => {
                format!(
                    "result<{}, {}>",
                    ok.as_ref().map_or_else(|| "_".to_owned(), |ok| ok.wit()),
                    err.wit()
                )
            }
            Self::Tuple(of) => format!("tuple<{}>", of.iter().map(Self::wit).collect::<Vec<_>>().join(", ")),
            Self::Map(key, of) => format!("map<{key}, {}>", of.wit()),
            Self::Record(name, _) | Self::Variant(name, _) | Self::Enum(name, _) | Self::Flags(name, _) => {
                name.clone()
            }
        }
    }

    /// A random value, as WAVE writes it: the one way in which it is printed.
    pub(crate) fn value(&self, random: &mut Random) -> String {
        match self {
            Self::Plain(name) => plain(name, random),
            Self::List(of) => {
                let length = random.below(4);
                list((0..length).map(|_| of.value(random)))
            }
            Self::FixedList(of, length) => list((0..*length).map(|_| of.value(random))),
            Self::Option(of) if random.yes() => format!("some({})", of.value(random)),
            Self::Option(_) => "none".to_owned(),
            Self::Result(ok, err) => {
                let (name, side) = if random.yes() { ("ok", ok) } else { ("err", err) };
                with_payload(name, side.as_deref(), random)
            }
            Self::Tuple(of) => {
                format!("({})", of.iter().map(|of| of.value(random)).collect::<Vec<_>>().join(", "))
            }
            Self::Map(key, of) => {
                // No key twice.
                let entries = (0..random.below(4)).map(|_| (plain(key, random), of.value(random)));
                let entries: BTreeMap<String, String> = entries.collect();
                list(entries.into_iter().map(|(key, value)| format!("({key}, {value})")))
            }
            Self::Record(_, fields) => record(fields, random),
            Self::Variant(_, cases) => {
                let case = random.below(cases.len());
                with_payload(&format!("case-{case}"), cases[case].as_ref(), random)
            }
            Self::Enum(_, cases) => format!("case-{}", random.below(*cases)),
            Self::Flags(_, labels) => {
                let set = (0..*labels).filter(|_| random.yes()).collect::<Vec<_>>().into_iter();
                format!("{{{}}}", set.map(|label| format!("label-{label}")).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// A list of some random values.
    pub(crate) fn values(&self, random: &mut Random) -> String {
        let length = random.between(3, 6);
        list((0..length).map(|_| self.value(random)))
    }
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn with_payload(name: &str, of: Option<&Type>, random: &mut Random) -> String {
    match of {
        Some(of) => format!("{name}({})", of.value(random)),
        None => name.to_owned(),
    }
}

/// A field that is an option without a value is not written; a record without any field written is `{:}`.
fn record(fields: &[Type], random: &mut Random) -> String {
    let mut written = Vec::new();
    for (place, of) in fields.iter().enumerate() {
        let value = of.value(random);
        if !(matches!(of, Type::Option(_)) && value == "none") {
            written.push(format!("field-{place}: {value}"));
        }
    }
    if written.is_empty() { "{:}".to_owned() } else { format!("{{{}}}", written.join(", ")) }
}

fn plain(name: &str, random: &mut Random) -> String {
    let bits = random.next();
    // The ends of each number's range as often as all that is between.
    let bits =
        random.pick(&[0, 1, u64::MAX, i64::MAX as u64, i32::MAX as u64, 1 << 31, 0x80, bits, bits, bits]);
    match name {
        "bool" => (bits & 1 == 1).to_string(),
        "s8" => (bits as i8).to_string(),
        "u8" => (bits as u8).to_string(),
        "s16" => (bits as i16).to_string(),
        "u16" => (bits as u16).to_string(),
        "s32" => (bits as i32).to_string(),
        "u32" => (bits as u32).to_string(),
        "s64" => (bits as i64).to_string(),
        "u64" => bits.to_string(),
        "f32" => float(f64::from(f32::from_bits(bits as u32)), f32::from_bits(bits as u32).to_string()),
        "f64" => float(f64::from_bits(bits), f64::from_bits(bits).to_string()),
        "char" => format!("'{}'", letter(random)),
        _ => {
            let length = random.below(12);
            format!("\"{}\"", (0..length).map(|_| letter(random)).collect::<String>())
        }
    }
}

/// Not a number is one value, whatever its bits.
fn float(value: f64, text: String) -> String {
    if value.is_nan() { "nan".to_owned() } else { text }
}

/// A letter of one to four bytes, or one that has to be escaped.
fn letter(random: &mut Random) -> &'static str {
    random.pick(&[
        "a", "Z", "0", " ", "{", "ß", "é", "→", "語", "😀", "\\\"", "\\'", "\\\\", "\\n", "\\t", "\\r",
        "\\u{0}", "\\u{1b}", "\u{fffd}",
    ])
}
