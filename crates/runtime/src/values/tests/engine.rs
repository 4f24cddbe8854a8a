//! Types as the engine has them.

use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::{Config, Engine};

use crate::values::FunctionType;

pub(super) fn engine() -> Engine {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    config.wasm_component_model_map(true);
    config.wasm_component_model_fixed_length_lists(true);
    Engine::new(&config).unwrap()
}

/// The type of the function that a component with this import has.
fn imported(types: &str, function: &str) -> Result<FunctionType, String> {
    let wat = format!("(component {types} (import \"f\" (func {function})))");
    let engine = engine();
    let component = Component::new(&engine, wat::parse_str(wat).unwrap()).unwrap();
    let ty: ComponentFunc = match component.component_type().get_import(&engine, "f").unwrap().ty {
        ComponentItem::ComponentFunc(ty) => ty,
        other => panic!("{other:?}"),
    };
    FunctionType::new("test:values/all@1.0.0", "f", &ty)
}

#[test]
fn types_of_components_have_their_text() {
    let parameters = "(param \"a\" (list u8)) (param \"b\" (option (tuple s64 char)))";
    let function = imported("", &format!("{parameters} (result (result string (error f32)))")).unwrap();
    assert_eq!(function.text(), "func(a: list<u8>, b: option<tuple<s64, char>>) -> result<string, f32>");
    let types = r#"
        (type $point' (record (field "x" u8) (field "y" (list bool 3))))
        (import "point" (type $point (eq $point')))
        (type $shape' (variant (case "dot" $point) (case "none")))
        (import "shape" (type $shape (eq $shape')))
        (type $color' (enum "red" "green"))
        (import "color" (type $color (eq $color')))
        (type $rights' (flags "read" "write"))
        (import "rights" (type $rights (eq $rights')))
    "#;
    let parameters = "(param \"s\" $shape) (param \"c\" $color) (param \"r\" $rights)";
    let function = imported(types, &format!("{parameters} (param \"m\" (map string u8))")).unwrap();
    assert_eq!(
        function.text(),
        "func(s: variant { dot(record { x: u8, y: list<bool, 3> }), none }, c: enum { red, green }, \
         r: flags { read, write }, m: map<string, u8>)"
    );
    let function = imported("", "async (param \"s\" (stream u8)) (result (future (result (error string))))");
    assert_eq!(function.unwrap().text(), "async func(s: stream<u8>) -> future<result<_, string>>");
    let function = imported("", "(param \"s\" (stream)) (result (future))").unwrap();
    assert_eq!(function.text(), "func(s: stream) -> future");
}

#[test]
fn types_that_cannot_cross_are_named() {
    let refused = imported("(import \"bucket\" (type $b (sub resource)))", "(param \"b\" (borrow $b))");
    assert_eq!(
        refused.unwrap_err(),
        "function test:values/all@1.0.0.f uses a resource in its parameter b, which can't be passed from one \
         component to another"
    );
    let refused = imported("", "(result (stream (list u16)))");
    assert!(refused.unwrap_err().contains("uses a stream of list<u16> in its result"));
}
