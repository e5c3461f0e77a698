//! Markdown by hand: tables and what must be escaped in them.

/// A table; cells are Markdown.
pub(super) struct Table {
    text: String,
    columns: usize,
}

impl Table {
    pub(super) fn new(header: &[&str]) -> Self {
        let mut table = Self {
            text: String::new(),
            columns: header.len(),
        };
        table.row(header);
        table.text.push_str(&"| --- ".repeat(header.len()));
        table.text.push_str("|\n");
        table
    }

    pub(super) fn row<S: AsRef<str>>(&mut self, cells: &[S]) {
        debug_assert_eq!(
            cells.len(),
            self.columns,
            "a table's rows are of one length"
        );
        for cell in cells {
            self.text.push_str("| ");
            self.text
                .push_str(&one_line(cell.as_ref()).replace('|', "\\|"));
            self.text.push(' ');
        }
        self.text.push_str("|\n");
    }

    /// The table and an empty line; nothing where it has no rows.
    pub(super) fn finish(self) -> String {
        match self.text.lines().count() {
            0..=2 => String::new(),
            _ => self.text + "\n",
        }
    }
}

/// `text` as code; nothing for nothing.
pub(super) fn code(text: &str) -> String {
    match text {
        "" | "-" => String::new(),
        text if text.contains('`') => format!("`` {text} ``"),
        text => format!("`{text}`"),
    }
}

/// Line ends as spaces.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

/// The paragraph of a page with this number, from 0, in one line.
pub(super) fn paragraph(text: &str, number: usize) -> String {
    one_line(text.trim().split("\n\n").nth(number).unwrap_or_default())
}

/// A block of code.
pub(super) fn fenced(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```\n\n", text.trim_matches('\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_in_a_cell_does_not_end_the_cell() {
        let mut table = Table::new(&["a", "b"]);
        table.row(&[code("x | y"), "line\n  by line".to_owned()]);
        assert_eq!(
            table.finish(),
            "| a | b |\n| --- | --- |\n| `x \\| y` | line by line |\n\n"
        );
    }

    #[test]
    fn a_table_without_rows_is_no_table() {
        assert_eq!(Table::new(&["a"]).finish(), "");
    }

    #[test]
    fn the_paragraph_after_the_heading_is_the_summary() {
        assert_eq!(
            paragraph("\n# Head\n\nTwo\nlines.\n\nMore.\n", 1),
            "Two lines."
        );
    }
}
