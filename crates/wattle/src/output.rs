//! What commands print: one value per command, as a table for people or as JSON for programs.

use std::io::{IsTerminal, Write as _};

use anyhow::Context as _;
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// The form of a command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Sentences and tables.
    #[default]
    Text,
    /// One JSON value on standard output; errors as `{"error": …}` on standard error.
    Json,
}

/// The result of a command.
pub(crate) trait Output: Serialize {
    /// What people see: one or more lines, without the last line's end.
    fn text(&self) -> String;
}

/// Prints the result of a command to standard output.
pub(crate) fn print(output: &impl Output, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Text => output.text(),
        Format::Json => serde_json::to_string_pretty(output).context("cannot write the result as JSON")?,
    };
    write_line(&text)
}

/// Writes to standard output; that the reader went away (as `head` does) is no error.
pub(crate) fn write_line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// Tells people something that is not the result: progress, hints, warnings. Never on standard output.
pub(crate) fn note(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// A result that is one sentence, with the facts that programs need beside it.
#[derive(Debug, Serialize)]
pub(crate) struct Done<T: Serialize> {
    #[serde(flatten)]
    facts: T,
    #[serde(skip)]
    sentence: String,
}

impl<T: Serialize> Done<T> {
    /// `facts` must serialise to a JSON object.
    pub(crate) fn new(sentence: impl Into<String>, facts: T) -> Self {
        Self { facts, sentence: sentence.into() }
    }
}

impl<T: Serialize> Output for Done<T> {
    fn text(&self) -> String {
        self.sentence.clone()
    }
}

/// Renders rows in aligned columns under a heading; `none` is what stands there without rows.
pub(crate) fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    none: &str,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(heading);
    for row in rows {
        table.add_row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    if table.is_empty() {
        return none.to_owned();
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
        column.set_cell_alignment(CellAlignment::Left);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// `key=value` pairs on one line, in order.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(" ")
}

/// Colours, where a stream is a terminal and `NO_COLOR` is not set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    coloured: bool,
}

impl Style {
    /// The style of standard error.
    pub(crate) fn stderr() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { coloured: !refused && std::io::stderr().is_terminal() }
    }

    /// The word that announces an error.
    pub(crate) fn error(self, text: &str) -> String {
        if self.coloured { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Whether colours are used at all.
    pub(crate) fn coloured(self) -> bool {
        self.coloured
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_end_without_spaces() {
        let rows = [["a".to_owned(), "long value".to_owned()], ["much longer".to_owned(), String::new()]];
        let text = table(["ID", "VALUE"], rows, "nothing");
        assert_eq!(text, "ID            VALUE\na             long value\nmuch longer   -");
    }

    #[test]
    fn an_empty_table_is_a_sentence() {
        assert_eq!(table(["ID"], Vec::<[String; 1]>::new(), "no hosts answered"), "no hosts answered");
    }

    #[test]
    fn a_sentence_keeps_its_facts_for_programs() {
        #[derive(Serialize)]
        struct Facts {
            id: &'static str,
        }
        let done = Done::new("started echo", Facts { id: "echo" });
        assert_eq!(done.text(), "started echo");
        assert_eq!(serde_json::to_string(&done).unwrap(), r#"{"id":"echo"}"#);
    }
}
