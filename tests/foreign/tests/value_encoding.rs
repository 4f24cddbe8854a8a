//! Writes down how the types that wit-bindgen-wrpc makes from `wit/values.wit` encode the parameters of a call: one line
//! per function, its name and the bytes in hexadecimal, into the file that `ENCODINGS` names.

use std::fmt::Write as _;
use std::sync::Mutex;

use bytes::Bytes;
use foreign::setting;
use wrpc_transport::Invoke;
use wrpc_transport::frame::{Incoming, Outgoing};

mod bindings {
    #![allow(missing_docs, reason = "made by a macro")]
    wit_bindgen_wrpc::generate!({ path: "wit/values.wit", world: "client", generate_all });
}

use bindings::acme::values::values;
use bindings::acme::values::values::{Colour, Few, Many, Nine, Point, Seventeen, Shape, ThirtyTwo, Whole};

/// A connection that goes nowhere and keeps the parameters.
#[derive(Default)]
struct Writer(Mutex<String>);

impl Invoke for Writer {
    type Context = ();

    async fn invoke<P>(
        &self,
        (): (),
        instance: &str,
        function: &str,
        parameters: Bytes,
        _paths: impl AsRef<[P]> + Send,
    ) -> anyhow::Result<(Outgoing, Incoming)>
    where
        P: AsRef<[Option<usize>]> + Send + Sync,
    {
        assert_eq!(instance, "acme:values/values");
        let mut text = self.0.lock().expect("nobody panicked");
        write!(text, "{function} ").expect("a text takes all");
        for byte in &parameters {
            write!(text, "{byte:02x}").expect("a text takes all");
        }
        text.push('\n');
        anyhow::bail!("this goes nowhere")
    }
}

fn point(x: i32, y: i32, name: Option<&str>) -> Point {
    Point { x, y, name: name.map(str::to_owned) }
}

fn shapes() -> [Shape; 4] {
    [
        Shape::Nothing,
        Shape::Circle(2.5),
        Shape::Polygon(vec![point(1, -1, None), point(i32::MAX, i32::MIN, Some("far"))]),
        Shape::Labelled(("sky".to_owned(), Colour::Blue)),
    ]
}

fn whole(outcome: Result<Bytes, Colour>, nested: Option<Option<u16>>) -> Whole {
    Whole { shapes: shapes().to_vec(), marks: Few::A | Few::C, outcome, nested }
}

#[tokio::test]
async fn parameters() {
    let to = Writer::default();
    let to = &to;
    let _ = values::nothing(to, ()).await;
    let _ = values::bools(to, (), true, false).await;
    let _ = values::small(to, (), 200, -100, 0, 127).await;
    let _ = values::u16s(to, (), 127, 128, u16::MAX).await;
    let _ = values::s16s(to, (), -1, i16::MAX, i16::MIN).await;
    let _ = values::u32s(to, (), 0, 300, u32::MAX).await;
    let _ = values::s32s(to, (), -64, 64, i32::MIN).await;
    let _ = values::u64s(to, (), 1, 1 << 35, u64::MAX).await;
    let _ = values::s64s(to, (), -65, 1 << 40, i64::MIN).await;
    let _ = values::f32s(to, (), 1.5, -0.0, f32::INFINITY).await;
    let _ = values::f64s(to, (), 0.1, f64::MIN_POSITIVE, f64::NEG_INFINITY).await;
    let _ = values::chars(to, (), 'a', 'ß', '語', '😀').await;
    let _ = values::strings(to, (), "", "wattle", "Grüße, 世界\n").await;
    let _ = values::bytes(to, (), &Bytes::new(), &Bytes::from_static(&[0, 1, 127, 128, 255])).await;
    let _ = values::numbers(to, (), &[0, 128, u16::MAX], &[-1, i64::MAX]).await;
    let _ = values::texts(to, (), &["a", "", "ccc"], &[&[][..], &[1, 2, 300][..]]).await;
    let _ = values::options(to, (), None, Some(7), Some("x"), Some(None)).await;
    let _ =
        values::results(to, (), &Ok(5), &Err("no".to_owned()), &Ok(()), &Err(()), &Err(9), &Ok('z')).await;
    let _ = values::tuples(to, (), (1, "one"), ((2, true), &['b', 'é'])).await;
    let _ = values::records(to, (), &point(3, -3, Some("p")), &[point(0, 0, None)]).await;
    let [a, b, c, d] = shapes();
    let _ = values::variants(to, (), &a, &b, &c, &d).await;
    let _ = values::enums(to, (), Colour::Red, Colour::Blue, Many::C127, Many::C128).await;
    let (nine, seventeen) = (Nine::A | Nine::I, Seventeen::B | Seventeen::Q);
    let _ = values::flagged(to, (), &Few::B, &nine, &seventeen, &(ThirtyTwo::F0 | ThirtyTwo::F31)).await;
    let none = (Few::empty(), Nine::empty(), Seventeen::empty(), ThirtyTwo::empty());
    let _ = values::no_flags(to, (), &none.0, &none.1, &none.2, &none.3).await;
    let bytes = Bytes::from_static(&[9, 8, 7]);
    let _ = values::everything(
        to,
        (),
        &whole(Ok(bytes), Some(Some(500))),
        &[whole(Err(Colour::Green), Some(None)), whole(Ok(Bytes::new()), None)],
    )
    .await;

    let text = to.0.lock().expect("nobody panicked").clone();
    assert_eq!(text.lines().count(), 25, "a function was not encoded:\n{text}");
    std::fs::write(setting("ENCODINGS", "the file to write"), text).expect("the file can be written");
}
