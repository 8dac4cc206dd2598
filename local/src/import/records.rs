//! The records of a file, one after another: JSON Lines, a JSON array, or CSV.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use csv::StringRecord;
use shared::fields::{Object, elements};
use shared::import::System;
use shared::import::columns::Columns;

/// The largest record that is read, in bytes. Open WebUI's have a copy of the chat, with its images.
const MAX_RECORD: usize = 64 * 1024 * 1024;

/// Where a record is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// On a line, from 1. A record of a CSV file begins there.
    Line(u64),
    /// In an array, from 1.
    Record(u64),
    /// On a line with several records, the page of a response.
    OfPage(u64, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Record(record) => write!(f, "record {record}"),
            Self::OfPage(line, record) => write!(f, "line {line}, record {record}"),
        }
    }
}

/// A record's JSON, or why there is none.
pub(super) type Text = Result<String, String>;

/// Reads the records of a file. It holds one of them, or one page of a response.
pub(super) struct Records<R> {
    system: System,
    form: Form<R>,
    page: VecDeque<(Place, Text)>,
}

enum Form<R> {
    Lines {
        input: R,
        line: u64,
    },
    Array {
        input: R,
        record: u64,
        is_over: bool,
    },
    Csv {
        input: csv::Reader<R>,
        columns: Columns,
        /// What its line numbers lack: before a record, the second half of CRLF is not counted yet.
        uncounted: u64,
    },
}

impl<R: BufRead> Records<R> {
    /// Looks at the beginning of a file to see its form. `map` has the columns of a CSV file.
    ///
    /// # Errors
    ///
    /// A line to print.
    pub(super) fn open(system: System, map: &[(String, String)], mut input: R) -> Result<Self, String> {
        let first = first_byte(&mut input).map_err(unread)?;
        let form = match (system, first) {
            (System::Csv, _)
            | (System::Hindsight | System::Langfuse, Some(b'a'..=b'z' | b'A'..=b'Z' | b'"')) => {
                let beginning = input.fill_buf().map_err(unread)?;
                let end = beginning.iter().position(|byte| *byte == b'\n');
                let is_crlf = end.is_some_and(|end| beginning[..end].ends_with(b"\r"));
                let mut input = csv::ReaderBuilder::new().from_reader(input);
                let header = input.headers().map_err(|error| unread(error.into()))?;
                let header: Vec<String> = header.iter().map(str::to_owned).collect();
                Form::Csv {
                    columns: Columns::of(system, &header, map)?,
                    input,
                    uncounted: u64::from(is_crlf),
                }
            }
            (_, Some(b'[')) => {
                input.consume(1);
                Form::Array {
                    input,
                    record: 0,
                    is_over: false,
                }
            }
            (_, Some(b'{') | None) => Form::Lines { input, line: 0 },
            _ => {
                return Err(format!(
                    "expected a file of {}, got something that begins with neither {{, [ nor a header",
                    system.name()
                ));
            }
        };
        Ok(Self {
            system,
            form,
            page: VecDeque::new(),
        })
    }

    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(Place, Text)>> {
        if let Some(next) = self.page.pop_front() {
            return Ok(Some(next));
        }
        match &mut self.form {
            Form::Lines { input, line } => {
                let Some(text) = next_line(input, line)? else {
                    return Ok(None);
                };
                let place = Place::Line(*line);
                if let (System::Langfuse, Ok(json)) = (self.system, &text)
                    && let Some(records) = page(json)
                {
                    let places = (1..).map(|record| Place::OfPage(*line, record));
                    self.page = places.zip(records.into_iter().map(Ok)).collect();
                    return self.next();
                }
                Ok(Some((place, text)))
            }
            Form::Array {
                input,
                record,
                is_over,
            } => {
                loop {
                    if !*is_over {
                        let found = next_element(input, is_over)?;
                        if let Some(text) = found {
                            *record += 1;
                            return Ok(Some((Place::Record(*record), text)));
                        }
                    }
                    // Responses that were written one after another.
                    match first_byte(input)? {
                        None => return Ok(None),
                        Some(b'[') => {
                            input.consume(1);
                            *is_over = false;
                        }
                        Some(_) => {
                            while !input.fill_buf()?.is_empty() {
                                let length = input.fill_buf()?.len();
                                input.consume(length);
                            }
                            *record += 1;
                            let text =
                                "record: expected the end of the file after the array, got more".to_owned();
                            return Ok(Some((Place::Record(*record), Err(text))));
                        }
                    }
                }
            }
            Form::Csv {
                input,
                columns,
                uncounted,
            } => {
                let mut row = StringRecord::new();
                let line = input.position().line() + *uncounted;
                match input.read_record(&mut row) {
                    Ok(false) => Ok(None),
                    Ok(true) => Ok(Some((Place::Line(line), Ok(columns.json(row.iter()))))),
                    Err(error) => {
                        let text = match error.kind() {
                            csv::ErrorKind::UnequalLengths {
                                expected_len, len, ..
                            } => {
                                format!("record: expected {expected_len} cells, got {len}")
                            }
                            csv::ErrorKind::Utf8 { .. } => "record: invalid UTF-8".to_owned(),
                            _ => return Err(error.into()),
                        };
                        Ok(Some((Place::Line(line), Err(text))))
                    }
                }
            }
        }
    }
}

pub(super) fn unread(error: io::Error) -> String {
    format!("cannot read the file: {error}")
}

/// Skips a byte order mark and white space, and returns what follows.
fn first_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    if input.fill_buf()?.starts_with("\u{feff}".as_bytes()) {
        input.consume("\u{feff}".len());
    }
    loop {
        let byte = input.fill_buf()?.first().copied();
        if !byte.is_some_and(|byte| byte.is_ascii_whitespace()) {
            return Ok(byte);
        }
        input.consume(1);
    }
}

fn to_text(bytes: Vec<u8>) -> Text {
    String::from_utf8(bytes).map_err(|error| {
        format!(
            "record: invalid UTF-8 at byte offset {}",
            error.utf8_error().valid_up_to()
        )
    })
}

fn too_large() -> Text {
    Err(format!("record: expected at most {MAX_RECORD} bytes, got more"))
}

/// The next line with something on it.
fn next_line(input: &mut impl BufRead, line: &mut u64) -> io::Result<Option<Text>> {
    loop {
        let mut bytes = Vec::new();
        let most = u64::try_from(MAX_RECORD).unwrap_or(u64::MAX);
        if input.take(most).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        *line += 1;
        if bytes.len() == MAX_RECORD && bytes.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            return Ok(Some(too_large()));
        }
        if !bytes.trim_ascii().is_empty() {
            return Ok(Some(to_text(bytes.trim_ascii().to_vec())));
        }
    }
}

/// The next element of an array whose bracket was read.
fn next_element(input: &mut impl BufRead, is_over: &mut bool) -> io::Result<Option<Text>> {
    let (mut element, mut depth, mut in_string, mut is_escaped) = (Vec::new(), 0_u32, false, false);
    let mut size = 0_usize;
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            *is_over = true;
            return Ok(Some(Err(
                "record: expected ] at the end of the array, got the end of the file".to_owned(),
            )));
        }
        let mut read = 0;
        let mut is_whole = false;
        for byte in bytes {
            read += 1;
            if in_string {
                (is_escaped, in_string) = (!is_escaped && *byte == b'\\', is_escaped || *byte != b'"');
            } else {
                match byte {
                    b'"' => in_string = true,
                    b'[' | b'{' => depth += 1,
                    b']' if depth == 0 => {
                        *is_over = true;
                        is_whole = true;
                    }
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    b',' if depth == 0 => is_whole = true,
                    _ => {}
                }
            }
            if is_whole {
                break;
            }
            size += 1;
            if size <= MAX_RECORD {
                element.push(*byte);
            }
        }
        input.consume(read);
        if is_whole {
            let text = element.trim_ascii().to_vec();
            return Ok(match (size > MAX_RECORD, text.is_empty(), *is_over) {
                (true, ..) => Some(too_large()),
                // The end of the array.
                (false, true, true) => None,
                (false, ..) => Some(to_text(text)),
            });
        }
    }
}

/// The records of a response with a page of them, if this is one.
fn page(json: &str) -> Option<Vec<String>> {
    let object = Object::parse(json).ok()?;
    if object.get("id").is_some() {
        return None;
    }
    let records = elements(object.get("data")?).ok()?;
    Some(
        records
            .into_iter()
            .map(|record| record.get().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file, in small pieces.
    fn read(system: System, file: &str) -> Vec<(String, Text)> {
        let input = io::BufReader::with_capacity(12, file.as_bytes());
        let mut records = Records::open(system, &[], input).unwrap();
        let mut read = Vec::new();
        while let Some((place, text)) = records.next().unwrap() {
            read.push((place.to_string(), text));
        }
        read
    }

    fn ok(place: &str, text: &str) -> (String, Text) {
        (place.to_owned(), Ok(text.to_owned()))
    }

    #[test]
    fn lines_are_records_and_empty_ones_are_not() {
        let read = read(System::Hindsight, "\u{feff}\n{\"a\":1}\r\n\n  {\"b\":\n{}");
        assert_eq!(
            read,
            [
                ok("line 1", r#"{"a":1}"#),
                ok("line 3", r#"{"b":"#),
                ok("line 4", "{}")
            ]
        );
        assert!(
            Records::open(System::OpenWebui, &[], &b""[..])
                .unwrap()
                .next()
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn the_elements_of_an_array_are_records() {
        let array = "\n [ {\"a\": [1, {\"b\": \"]},\\\"\\\\\"}]},\n{}, 5 ,\n\"x,]\" ] ";
        assert_eq!(
            read(System::OpenWebui, array),
            [
                ok("record 1", r#"{"a": [1, {"b": "]},\"\\"}]}"#),
                ok("record 2", "{}"),
                ok("record 3", "5"),
                ok("record 4", r#""x,]""#),
            ]
        );
        assert_eq!(read(System::OpenWebui, "[]"), []);
        assert_eq!(read(System::OpenWebui, "[\n]\n"), []);
        let several = read(System::OpenWebui, "[1]\n[]\n [2,3]");
        assert_eq!(
            several,
            [ok("record 1", "1"), ok("record 2", "2"), ok("record 3", "3")]
        );
        let more = read(System::OpenWebui, "[1] {\"a\":1}\n{}");
        assert!(
            more[1]
                .1
                .as_ref()
                .unwrap_err()
                .contains("the end of the file after the array")
        );
        assert_eq!(more.len(), 2);
        let cut = read(System::OpenWebui, "[{\"a\":1},{\"b\":");
        assert_eq!(cut[0], ok("record 1", r#"{"a":1}"#));
        assert!(cut[1].1.as_ref().unwrap_err().contains("got the end of the file"));
        assert_eq!(cut.len(), 2);
    }

    #[test]
    fn the_pages_of_a_response_are_taken_apart() {
        let pages = r#"{"data":[{"id":"1"},{"id":"2"}],"meta":{"page":1}}
{"id":"3","data":[]}
{"data":[]}"#;
        assert_eq!(
            read(System::Langfuse, pages),
            [
                ok("line 1, record 1", r#"{"id":"1"}"#),
                ok("line 1, record 2", r#"{"id":"2"}"#),
                ok("line 2", r#"{"id":"3","data":[]}"#),
            ]
        );
    }

    #[test]
    fn rows_are_records() {
        let rows = read(
            System::Hindsight,
            "id,comment\r\n1,\"two\r\nlines\"\r\n2,a,b\r\n3,é\r\n",
        );
        assert_eq!(rows[0], ok("line 2", r#"{"id":"1","comment":"two\r\nlines"}"#));
        assert_eq!(
            rows[1],
            (
                "line 4".to_owned(),
                Err("record: expected 2 cells, got 3".to_owned())
            )
        );
        assert_eq!(rows[2], ok("line 5", r#"{"id":"3","comment":"é"}"#));
        let lines = read(System::Hindsight, "id,comment\n1,\"two\nlines\"\n2,b\n");
        let places: Vec<&str> = lines.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["line 2", "line 4"]);
    }

    #[test]
    fn another_file_is_refused() {
        for (system, file) in [
            (System::OpenWebui, "id,name"),
            (System::Hindsight, "\u{1f}\u{8b}"),
            (System::Langfuse, "name,value\n"),
        ] {
            assert!(Records::open(system, &[], file.as_bytes()).is_err(), "{file}");
        }
    }
}
