//! A table on its way to HTML or Markdown: best values and footnotes are marked beside its text.

use std::collections::BTreeSet;

use maud::{Markup, html};
use rareclip_bench::table::Table;

use crate::shell;
use crate::text::printable;

/// What holds for every published figure.
const CAVEAT: &str = "A published figure is of the backbone and resolution its source names, and a mean over \
                                 all categories of the data set.";

/// Sources of published figures, to which tables refer by number.
#[derive(Default)]
pub(super) struct Footnotes {
    texts: Vec<String>,
}

impl Footnotes {
    /// The number of a footnote, from 1; the same text has the same number.
    pub(super) fn number(&mut self, text: String) -> usize {
        match self.texts.iter().position(|known| *known == text) {
            Some(at) => at + 1,
            None => {
                self.texts.push(text);
                self.texts.len()
            }
        }
    }

    /// As a list that the numbers in tables lead to.
    pub(super) fn html(&self) -> Markup {
        html! {
            @if !self.texts.is_empty() {
                p.note { (CAVEAT) }
                ol.footnotes aria-label="Footnotes" {
                    @for (text, number) in self.texts.iter().zip(1..) {
                        li id={ "footnote-" (number) } { (printable(text)) }
                    }
                }
            }
        }
    }

    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        if self.texts.is_empty() {
            return String::new();
        }
        let lines = self.texts.iter().zip(1..);
        let lines: String = lines
            .map(|(text, number)| format!("[^{number}]: {text}\n"))
            .collect();
        format!("{CAVEAT}\n\n{lines}")
    }
}

/// A table, its marks, and rows that stand apart below its body.
pub(super) struct Sheet {
    table: Table,
    /// How many rows at the end sum up those above.
    summary: usize,
    /// Row and column of the best values.
    best: BTreeSet<(usize, usize)>,
    /// Row and column of cells with a footnote, and its number.
    notes: Vec<(usize, usize, usize)>,
}

/// Which of several values is the best.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Best {
    /// The highest, of metrics.
    Highest,
    /// The lowest, of costs.
    Lowest,
}

/// The number at the start of a cell; a cell with a remark in parentheses is not comparable.
fn leading(cell: &str) -> Option<f64> {
    if cell.contains('(') {
        return None;
    }
    cell.split(' ').next()?.parse().ok()
}

/// Places of the best among `cells` as printed: all that share it. None where there is nothing to
/// choose from.
fn best(cells: &[&str], which: Best) -> Vec<usize> {
    let values: Vec<(usize, f64)> = cells
        .iter()
        .enumerate()
        .filter_map(|(at, cell)| Some((at, leading(cell)?)))
        .collect();
    let ordered = |a: &f64, b: &f64| match which {
        Best::Highest => a.total_cmp(b),
        Best::Lowest => b.total_cmp(a),
    };
    let all = || values.iter().map(|(_, value)| *value);
    match (all().max_by(ordered), all().min_by(ordered)) {
        (Some(best), Some(worst)) if best != worst => {
            let winners = values.iter().filter(|(_, value)| *value == best);
            winners.map(|(at, _)| *at).collect()
        }
        _ => Vec::new(),
    }
}

impl Sheet {
    /// A table without marks.
    pub(super) fn new(table: Table) -> Self {
        Self {
            table,
            summary: 0,
            best: BTreeSet::new(),
            notes: Vec::new(),
        }
    }

    /// Marks the best value of a column.
    pub(super) fn best_of_column(&mut self, column: usize, which: Best) {
        let cells = self.table.rows.iter().map(|row| row[column].as_str());
        let rows = best(&cells.collect::<Vec<_>>(), which);
        self.best.extend(rows.into_iter().map(|row| (row, column)));
    }

    /// Marks the best value of every row; the first cell of a row is its name.
    pub(super) fn best_of_rows(&mut self, which: Best) {
        for (at, row) in self.table.rows.iter().enumerate() {
            let cells: Vec<&str> = row[1..].iter().map(String::as_str).collect();
            let columns = best(&cells, which);
            self.best
                .extend(columns.into_iter().map(|column| (at, column + 1)));
        }
    }

    /// Adds a footnote to a cell.
    pub(super) fn note(&mut self, row: usize, column: usize, number: usize) {
        self.notes.push((row, column, number));
    }

    /// Says that the last `rows` sum up those above.
    pub(super) fn summary(&mut self, rows: usize) {
        self.summary = rows;
    }

    /// Adds a row below the others, which takes no part in the choice of the best.
    pub(super) fn push(&mut self, row: Vec<String>) -> usize {
        self.table.rows.push(row);
        self.summary += 1;
        self.table.rows.len() - 1
    }

    /// As an HTML table with caption and headers.
    pub(super) fn html(&self) -> Markup {
        let table = &self.table;
        let (body, foot) = table.rows.split_at(table.rows.len() - self.summary);
        let content = html! {
            table.sheet {
                caption { (printable(&table.title)) }
                thead { tr {
                    @for (at, name) in table.header.iter().enumerate() {
                        th scope="col" class=[(at > 0).then_some("number")] { (printable(name)) }
                    }
                } }
                tbody { @for (at, row) in body.iter().enumerate() { (self.row(at, row)) } }
                @if !foot.is_empty() {
                    tfoot { @for (at, row) in foot.iter().enumerate() { (self.row(body.len() + at, row)) } }
                }
            }
        };
        shell::scroll(&table.title, &content)
    }

    fn row(&self, at: usize, row: &[String]) -> Markup {
        html! {
            tr {
                @for (column, cell) in row.iter().enumerate() {
                    @if column == 0 { th scope="row" { (printable(cell)) } }
                    @else { td.number { (self.cell(at, column, cell)) } }
                }
            }
        }
    }

    fn cell(&self, row: usize, column: usize, cell: &str) -> Markup {
        html! {
            @if self.best.contains(&(row, column)) { strong { (printable(cell)) } }
            @else { (printable(cell)) }
            @for number in self.notes_of(row, column) {
                sup { a href={ "#footnote-" (number) } aria-label={ "Footnote " (number) } { (number) } }
            }
        }
    }

    fn notes_of(&self, row: usize, column: usize) -> impl Iterator<Item = usize> {
        self.notes
            .iter()
            .filter(move |note| (note.0, note.1) == (row, column))
            .map(|note| note.2)
    }

    /// As Markdown.
    pub(super) fn markdown(&self) -> String {
        let plain = |text: &String| text.replace('|', "\\|").replace('\n', " ");
        let rows = self.table.rows.iter().enumerate().map(|(at, row)| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let mut text = plain(cell);
                if self.best.contains(&(at, column)) {
                    text = format!("**{text}**");
                }
                for number in self.notes_of(at, column) {
                    text += &format!("[^{number}]");
                }
                text
            });
            cells.collect()
        });
        Table {
            title: plain(&self.table.title),
            header: self.table.header.iter().map(plain).collect(),
            rows: rows.collect(),
        }
        .markdown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(rows: &[&[&str]]) -> Sheet {
        let row = |cells: &&[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        Sheet::new(Table {
            title: "t".to_owned(),
            header: vec!["name".to_owned(), "value".to_owned()],
            rows: rows.iter().map(row).collect(),
        })
    }

    #[test]
    fn all_that_print_the_best_value_are_best_and_what_is_missing_is_not() {
        assert_eq!(
            best(&["97.1", "98.2 ± 0.1", "n/a", "98.2"], Best::Highest),
            [1, 3]
        );
        assert_eq!(best(&["-", "12", "7"], Best::Lowest), [2]);
    }

    #[test]
    fn a_mean_over_fewer_categories_does_not_compete() {
        assert_eq!(
            best(&["99.0 (3 categories)", "97.0", "96.0"], Best::Highest),
            [1]
        );
    }

    #[test]
    fn nothing_is_best_where_there_is_no_choice() {
        assert!(best(&["97.0"], Best::Highest).is_empty());
        assert!(best(&["97.0", "97.0", "n/a"], Best::Highest).is_empty());
    }

    #[test]
    fn markdown_shows_the_best_in_bold_footnotes_by_number_and_bars_as_text() {
        let mut sheet = sheet(&[&["a|b", "1.0"], &["c", "2.0"]]);
        sheet.best_of_column(1, Best::Highest);
        sheet.note(0, 1, 3);
        let text = sheet.markdown();
        assert!(
            text.ends_with("| a\\|b | 1.0[^3] |\n| c | **2.0** |\n"),
            "{text}"
        );
    }

    #[test]
    fn the_same_footnote_has_one_number() {
        let mut notes = Footnotes::default();
        let numbers = ["x", "y", "x"].map(|text| notes.number(text.to_owned()));
        assert_eq!(numbers, [1, 2, 1]);
        assert!(notes.markdown().ends_with("\n\n[^1]: x\n[^2]: y\n"));
    }
}
