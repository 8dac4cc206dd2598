//! Rows of a CSV file as JSON objects, by the names in the header or a map of them.

use super::{System, quoted};
use crate::fields::{Kind, document};

/// Fields of a row that are members of the metadata.
pub(super) const LABELS: [(&str, &str); 7] = [
    ("name", "_name"),
    ("user", "_user"),
    ("session", "_session"),
    ("prompt", "_prompt"),
    ("organisation", "_organisation"),
    ("environment", "_environment"),
    ("model", "_model"),
];

/// Other fields of a row.
const FIELDS: [&str; 12] = [
    "id",
    "trace_id",
    "span_id",
    "tracing_project_fqn",
    "value",
    "weight",
    "rating",
    "comment",
    "reasons",
    "metadata",
    "created_at",
    "updated_at",
];

/// The prefix of a field that becomes a member of the metadata.
pub(super) const METADATA: &str = "metadata.";

/// The columns of a file, by the names of the fields that they fill.
#[derive(Clone, Debug)]
pub struct Columns {
    system: System,
    fields: Vec<String>,
}

impl Columns {
    /// The columns of a file with this header. `map` has pairs of a field and a column, for [`System::Csv`]. A column
    /// with the name of a field fills that one; every other is kept in the metadata.
    ///
    /// # Errors
    ///
    /// A line to print: a field or column that there is not, or one that is missing.
    pub fn of(system: System, header: &[String], map: &[(String, String)]) -> Result<Self, String> {
        if system != System::Csv {
            if !header.iter().any(|name| name == "id") {
                return Err("expected a header with the column id, got another".to_owned());
            }
            return Ok(Self {
                system,
                fields: header.to_vec(),
            });
        }
        let is_field = |name: &str| FIELDS.contains(&name) || LABELS.iter().any(|(field, _)| *field == name);
        let mut fields: Vec<Option<&str>> = vec![None; header.len()];
        for (field, column) in map {
            if !is_field(field) && field.strip_prefix(METADATA).is_none_or(str::is_empty) {
                let names: Vec<&str> = FIELDS.into_iter().chain(LABELS.map(|(name, _)| name)).collect();
                return Err(format!(
                    "--map {field}={column}: expected one of {} or metadata.NAME, got {field}",
                    names.join(", ")
                ));
            }
            let place = header.iter().position(|name| name == column);
            let Some(place) = place.and_then(|place| fields.get_mut(place)) else {
                return Err(format!(
                    "--map {field}={column}: the file has no column {column}, but {}",
                    header.join(", ")
                ));
            };
            if place.replace(field).is_some() {
                return Err(format!("--map {field}={column}: {column} is mapped twice"));
            }
        }
        let mapped = fields.clone();
        let fields: Vec<String> = header
            .iter()
            .zip(fields)
            .map(|(column, field)| match field {
                Some(field) => field.to_owned(),
                None if is_field(column) && !mapped.contains(&Some(column)) => column.clone(),
                None => format!("{METADATA}{column}"),
            })
            .collect();
        let has = |name: &str| fields.iter().any(|field| field == name);
        for (place, field) in fields.iter().enumerate() {
            if fields.iter().take(place).any(|other| other == field) {
                return Err(format!("--map: two columns for {field}"));
            }
        }
        for needed in [&["trace_id"][..], &["created_at"], &["value", "rating"]] {
            if !needed.iter().any(|name| has(name)) {
                return Err(format!(
                    "no column for {}: name it with --map {}=COLUMN; the file has {}",
                    needed.join(" or "),
                    needed.first().unwrap_or(&""),
                    header.join(", ")
                ));
            }
        }
        Ok(Self { system, fields })
    }

    /// A row as a JSON object. An empty cell is no member.
    pub fn json<'a>(&self, cells: impl IntoIterator<Item = &'a str>) -> String {
        let members = self.fields.iter().zip(cells);
        let members: Vec<String> = members
            .filter(|(_, cell)| !cell.is_empty())
            .map(|(field, cell)| format!("{}:{}", quoted(field), self.value(field, cell)))
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// A cell as JSON. Numbers may stay texts, which scores are read from as well.
    fn value(&self, field: &str, cell: &str) -> String {
        let json = document(cell).ok();
        let is = |kind| json.is_some_and(|json| Kind::of(json) == kind);
        match (self.system, field) {
            (_, "metadata") if is(Kind::Object) => cell.to_owned(),
            // Langfuse writes what is not a text as JSON: times are quoted, other metadata is JSON too.
            (System::Langfuse, "metadata" | "traceTags" | "value") if json.is_some() => cell.to_owned(),
            (System::Langfuse, "timestamp") if is(Kind::String) => cell.to_owned(),
            (System::Hindsight | System::Csv, "reasons") if is(Kind::Array) => cell.to_owned(),
            // A column with the reason as it is.
            (System::Csv, "reasons") => format!("[{}]", quoted(cell)),
            _ => quoted(cell),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indexed::Field;

    fn of(header: &[&str], map: &[(&str, &str)]) -> Result<Columns, String> {
        let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
        let map: Vec<_> = map
            .iter()
            .map(|(field, column)| ((*field).to_owned(), (*column).to_owned()))
            .collect();
        Columns::of(System::Csv, &header, &map)
    }

    #[test]
    fn a_row_has_the_fields_of_its_columns() {
        let columns = of(
            &["chat", "value", "when", "why", "colour", "model"],
            &[
                ("trace_id", "chat"),
                ("created_at", "when"),
                ("reasons", "why"),
                ("metadata.paint", "colour"),
            ],
        )
        .unwrap();
        let row = columns.json(["c", "1", "2026-11-01", "too \"long\"", "red", ""]);
        assert_eq!(
            row,
            r#"{"trace_id":"c","value":"1","created_at":"2026-11-01","reasons":["too \"long\""],"metadata.paint":"red"}"#
        );
        let listed = columns.json(["c", "1", "2026-11-01", r#"["a","b"]"#, "", "m"]);
        assert!(
            listed.ends_with(r#""reasons":["a","b"],"model":"m"}"#),
            "{listed}"
        );
        // A column that another takes the place of is kept.
        let columns = of(
            &["trace_id", "value", "created_at", "trace"],
            &[("trace_id", "trace")],
        )
        .unwrap();
        assert_eq!(
            columns.json(["old", "1", "", "new"]),
            r#"{"metadata.trace_id":"old","value":"1","trace_id":"new"}"#
        );
    }

    #[test]
    fn every_indexed_field_can_be_mapped() {
        for field in Field::ALL {
            assert!(LABELS.contains(&(field.name(), field.metadata())), "{field:?}");
        }
    }

    #[test]
    fn a_wrong_map_is_refused() {
        for (header, map, says) in [
            (&["a"][..], &[("trace", "a")][..], "expected one of id, trace_id,"),
            (&["a"], &[("metadata.", "a")], "or metadata.NAME, got metadata."),
            (
                &["a", "b"],
                &[("trace_id", "c")],
                "the file has no column c, but a, b",
            ),
            (&["a"], &[("trace_id", "a"), ("user", "a")], "a is mapped twice"),
            (
                &["a", "b", "value", "created_at"],
                &[("trace_id", "a"), ("trace_id", "b")],
                "two columns for trace_id",
            ),
            (
                &["value", "created_at"],
                &[],
                "no column for trace_id: name it with --map trace_id=COLUMN; the file has value, created_at",
            ),
            (&["trace_id", "created_at"], &[], "no column for value or rating"),
            (&["trace_id", "rating"], &[], "no column for created_at"),
        ] {
            let error = of(header, map).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(Columns::of(System::Langfuse, &["name".to_owned()], &[]).is_err());
    }
}
