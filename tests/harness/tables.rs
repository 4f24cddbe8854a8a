//! What commands print for people.

use std::collections::BTreeMap;

/// The rows of a table, each as its cells by heading: a table's columns are two spaces or more apart.
pub fn table_rows(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let columns = columns(heading);
    let cell = |line: &str, start: usize, end: Option<usize>| {
        let letters = line.chars().skip(start).take(end.map_or(usize::MAX, |end| end - start));
        letters.collect::<String>().trim().to_owned()
    };
    let row = |line: &str| {
        let ends = columns.iter().skip(1).map(|(start, _)| Some(*start)).chain([None]);
        let cells = columns.iter().zip(ends);
        cells.map(|((start, name), end)| (name.clone(), cell(line, *start, end))).collect()
    };
    lines.take_while(|line| !line.is_empty()).map(row).collect()
}

/// Where each column begins, and its heading.
fn columns(heading: &str) -> Vec<(usize, String)> {
    let mut columns: Vec<(usize, String)> = Vec::new();
    let mut spaces = 2;
    for (place, letter) in heading.chars().enumerate() {
        match (letter, columns.last_mut()) {
            (' ', _) => spaces += 1,
            (letter, Some((_, name))) if spaces < 2 => {
                name.extend(std::iter::repeat_n(' ', spaces).chain([letter]));
                spaces = 0;
            }
            (letter, _) => {
                columns.push((place, letter.to_string()));
                spaces = 0;
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_may_have_spaces() {
        let rows =
            table_rows("ID    SOURCE CONFIG   NAME\na     -               one two\nmore  x,y             z");
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["NAME"], "one two");
        assert_eq!(rows[0]["SOURCE CONFIG"], "-");
        assert_eq!(rows[1]["ID"], "more");
    }
}
