//! Components made from WIT text: one core module serves whatever the types are.
//!
//! The canonical ABI passes a list as an address and a length, a value of more than sixteen core values as an address,
//! and a result of more than one core value as the address at which it was stored. So a module that only hands these
//! numbers on is an echo, or a relay, of values that it need not understand.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, InterfaceId, Resolve, WorldId, WorldItem};

/// The package that [`Contract`] puts its interfaces into.
const PACKAGE: &str = "acme:calls";

/// An interface whose functions give back what they are given, for an echo to export and a relay to import.
#[derive(Clone, Debug, Default)]
pub struct Contract {
    /// Type definitions, in WIT: each a whole item, such as `record pair { a: u8, b: u8 }`.
    pub items: Vec<String>,
    /// The names of these types.
    pub names: Vec<String>,
    /// Functions, in WIT, such as `f: func(v: list<pair>) -> list<pair>`.
    pub functions: Vec<String>,
}

impl Contract {
    /// Functions of types that need no definition.
    pub fn of(functions: &[&str]) -> Self {
        Self {
            functions: functions.iter().map(|function| format!("{function};")).collect(),
            ..Self::default()
        }
    }

    /// A component that exports `acme:calls/echo`. What its functions are given, they give back; a function of two lists
    /// gives back the tuple of the second and the first.
    ///
    /// # Panics
    /// When a function is of no such form, or the WIT is wrong.
    pub fn echo(&self) -> Vec<u8> {
        let (resolve, world) = resolve(&self.wit(), "echoing");
        let mut module = Module::new();
        for (name, interface) in interfaces(&resolve, world).1 {
            for function in resolve.interfaces[interface].functions.values() {
                module.echo(&resolve, &name, function);
            }
        }
        module.component(&resolve, world)
    }

    /// A component that exports `acme:calls/relay`, of the same functions, and imports `acme:calls/echo`, which it calls.
    ///
    /// # Panics
    /// When the WIT is wrong.
    pub fn relay(&self) -> Vec<u8> {
        relay(&self.wit(), "relaying")
    }

    fn wit(&self) -> String {
        let (items, functions) = (self.items.join("\n"), self.functions.join("\n"));
        let names = self.names.join(", ");
        let used = if names.is_empty() { String::new() } else { format!("use echo.{{{names}}};\n") };
        format!(
            "package {PACKAGE};
            interface echo {{ {items}\n{functions} }}
            interface relay {{ {used}{functions} }}
            world echoing {{ export echo; }}
            world relaying {{ import echo; export relay; }}"
        )
    }
}

/// A component of a world that exports functions and imports as many of the same names and types: each calls its
/// namesake and gives back what that gives.
///
/// # Panics
/// When the WIT is wrong, or the world has other imports and exports.
pub fn relay(wit: &str, world: &str) -> Vec<u8> {
    let (resolve, world) = resolve(wit, world);
    let mut module = Module::new();
    let (imports, exports) = interfaces(&resolve, world);
    let (import, imported) = imports.first().unwrap();
    let (export, exported) = exports.first().unwrap();
    for (name, function) in &resolve.interfaces[*exported].functions {
        let target = &resolve.interfaces[*imported].functions[name];
        module.relay(&resolve, (import, target), (export, function));
    }
    module.component(&resolve, world)
}

/// A component that exports `INTERFACE.say: func() -> string`, which says always the same. The interface is written as in
/// `acme:calls/words`, without a version.
///
/// # Panics
/// When the name is not one of an interface.
pub fn sayer(interface: &str, text: &str) -> Vec<u8> {
    let (package, name) = interface.split_once('/').unwrap();
    let wit = format!(
        "package {package}; interface {name} {{ say: func() -> string; }} world saying {{ export {name}; }}"
    );
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let body = format!(
        r#"(data (i32.const 16) "{escaped}")
        (data (i32.const 8) "\10\00\00\00\{:02x}\00\00\00")
        (func (export "{interface}#say") (result i32) i32.const 8)"#,
        u8::try_from(text.len()).unwrap(),
    );
    component(&wit, "saying", "", &body)
}

/// A component of a world in WIT, from the text of a core module's imports, and of its functions: these are exported as
/// `PACKAGE/INTERFACE#FUNCTION`, and memory and allocator are there already.
///
/// # Panics
/// When they don't fit together.
pub fn component(wit: &str, world: &str, imports: &str, body: &str) -> Vec<u8> {
    let (resolve, world) = resolve(wit, world);
    let (imports, body) = (imports.to_owned(), body.to_owned());
    Module { imports, body, functions: 0 }.component(&resolve, world)
}

/// A core module in the making.
struct Module {
    imports: String,
    body: String,
    functions: usize,
}

/// Memory, and an allocator that begins anew when a call is over. What is below [`HEAP`] is for data.
const HEAP: u32 = 4096;

impl Module {
    fn new() -> Self {
        Self { imports: String::new(), body: String::new(), functions: 0 }
    }

    fn echo(&mut self, resolve: &Resolve, interface: &str, function: &Function) {
        let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
        let params: Vec<&str> = signature.params.iter().map(name).collect();
        let body = match (signature.retptr, params.as_slice()) {
            (false, []) => String::new(),
            // One core value, or everything in one place: the number itself is the answer.
            (false, [_]) => "local.get 0".to_owned(),
            (true, [_]) if signature.indirect_params => "local.get 0".to_owned(),
            (true, ["i32", "i32"]) => stored(&[0, 1]),
            (true, ["i32", "i32", "i32", "i32"]) => stored(&[2, 3, 0, 1]),
            _ => panic!("no echo knows how to answer {}", function.name),
        };
        self.export(interface, function, &params, signature.results.first().map(name), &body);
        if signature.retptr {
            self.forget(interface, function);
        }
    }

    fn relay(&mut self, resolve: &Resolve, import: (&str, &Function), export: (&str, &Function)) {
        let called = resolve.wasm_signature(AbiVariant::GuestImport, import.1);
        let signature = resolve.wasm_signature(AbiVariant::GuestExport, export.1);
        let (id, place) = (self.functions, import.0);
        self.functions += 1;
        let params: Vec<&str> = called.params.iter().map(name).collect();
        let result = called.results.first().map(name);
        writeln!(
            self.imports,
            "(import \"{place}\" \"{}\" (func $import{id} {} {}))",
            import.1.name,
            in_brackets("param", &params),
            in_brackets("result", result.as_slice())
        )
        .unwrap();
        let given: Vec<&str> = signature.params.iter().map(name).collect();
        let mut body = String::new();
        let arguments: String = (0..given.len()).map(|place| format!("local.get {place} ")).collect();
        if called.retptr {
            // Large enough for any result in these tests, and aligned for any.
            write!(
                body,
                "(local $area i32) (local.set $area (call $allocate (i32.const 16) (i32.const 65536)))
                {arguments} local.get $area call $import{id} local.get $area"
            )
            .unwrap();
        } else {
            write!(body, "{arguments} call $import{id}").unwrap();
        }
        self.export(export.0, export.1, &given, signature.results.first().map(name), &body);
        if signature.retptr {
            self.forget(export.0, export.1);
        }
    }

    fn export(
        &mut self,
        interface: &str,
        function: &Function,
        params: &[&str],
        result: Option<&str>,
        body: &str,
    ) {
        writeln!(
            self.body,
            "(func (export \"{interface}#{}\") {} {}\n{body})",
            function.name,
            in_brackets("param", params),
            in_brackets("result", result.as_slice())
        )
        .unwrap();
    }

    /// An instance that answers more than one call has its memory back after each.
    fn forget(&mut self, interface: &str, function: &Function) {
        writeln!(
            self.body,
            "(func (export \"cabi_post_{interface}#{}\") (param i32) (global.set $free (i32.const {HEAP})))",
            function.name
        )
        .unwrap();
    }

    fn component(self, resolve: &Resolve, world: WorldId) -> Vec<u8> {
        let text = format!(
            r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $free (mut i32) (i32.const {HEAP}))
            (func $allocate (param $align i32) (param $size i32) (result i32)
                (local $start i32) (local $missing i32)
                (local.set $start (i32.and
                    (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                (global.set $free (i32.add (local.get $start) (local.get $size)))
                (local.set $missing (i32.sub (global.get $free) (i32.shl (memory.size) (i32.const 16))))
                (if (i32.gt_s (local.get $missing) (i32.const 0)) (then
                    (if (i32.lt_s
                        (memory.grow (i32.shr_u (i32.add (local.get $missing) (i32.const 65535)) (i32.const 16)))
                        (i32.const 0)) (then unreachable))))
                (local.get $start))
            (func (export "cabi_realloc")
                (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
                (local $new i32)
                (local.set $new (call $allocate (local.get $align) (local.get $size)))
                (memory.copy (local.get $new) (local.get $old) (local.get $old_size))
                (local.get $new))
            {body})"#,
            imports = self.imports,
            body = self.body,
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8).unwrap();
        let encoder = ComponentEncoder::default().module(&module).unwrap();
        encoder.validate(true).encode().unwrap_or_else(|error| panic!("{error:?}\n{text}"))
    }
}

/// Stores these parameters one after another, and gives the place.
fn stored(params: &[u32]) -> String {
    let mut body = format!(
        "(local $area i32) (local.set $area (call $allocate (i32.const 8) (i32.const {})))\n",
        params.len() * 4
    );
    for (place, param) in params.iter().enumerate() {
        writeln!(body, "(i32.store offset={} (local.get $area) (local.get {param}))", place * 4).unwrap();
    }
    body + "local.get $area"
}

fn name(value: &WasmType) -> &'static str {
    match value {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
    }
}

fn in_brackets(what: &str, values: &[&str]) -> String {
    if values.is_empty() { String::new() } else { format!("({what} {})", values.join(" ")) }
}

fn resolve(wit: &str, world: &str) -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap_or_else(|error| panic!("{error:?}\n{wit}"));
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    (resolve, world)
}

type Named = Vec<(String, InterfaceId)>;

/// The imported and the exported interfaces that have functions, by name.
fn interfaces(resolve: &Resolve, world: WorldId) -> (Named, Named) {
    let named = |items: &mut dyn Iterator<Item = (&wit_parser::WorldKey, &WorldItem)>| {
        let mut named = Named::new();
        for (key, item) in items {
            let WorldItem::Interface { id, .. } = item else { panic!("a world of more than interfaces") };
            if !resolve.interfaces[*id].functions.is_empty() {
                named.push((resolve.name_world_key(key), *id));
            }
        }
        named
    };
    let world = &resolve.worlds[world];
    (named(&mut world.imports.iter()), named(&mut world.exports.iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_of_every_form_are_made() {
        let contract = Contract {
            items: vec![
                "record pair { a: list<u8, 3>, b: option<map<string, char>> }".to_owned(),
                "record wide { it: pair, pad: tuple<u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64> }"
                    .to_owned(),
            ],
            names: vec!["pair".to_owned(), "wide".to_owned()],
            functions: vec![
                "lists: func(v: list<pair>) -> list<pair>;".to_owned(),
                "later: async func(v: list<pair>) -> list<pair>;".to_owned(),
                "whole: func(v: wide) -> wide;".to_owned(),
                "swap: func(a: list<u8>, b: list<pair>) -> tuple<list<pair>, list<u8>>;".to_owned(),
                "one: func(v: f64) -> f64;".to_owned(),
                "nothing: func();".to_owned(),
            ],
        };
        for component in [contract.echo(), contract.relay(), sayer("acme:calls/words", "hello")] {
            assert!(wit_component::decode(&component).is_ok());
        }
    }
}
