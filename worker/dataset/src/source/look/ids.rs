//! Which kind the ids of a column are, and why.

use shoal_common::ids::IdKind;

use crate::values::{Values, WholeNumber, whole_number};

/// Ids are texts if more than one in so many is not a whole number.
const ROWS_PER_TEXT_ID: u64 = 100;

/// Characters of an id in a reason.
const ID_SHOWN: usize = 32;

/// A kind, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct IdLook {
    pub(in crate::source) kind: IdKind,
    pub(in crate::source) because: String,
}

fn shown(id: &str) -> String {
    let cut: String = id.chars().take(ID_SHOWN).collect();
    if cut.len() < id.len() { format!("'{cut}…'") } else { format!("'{id}'") }
}

/// The kind of a column, by its first fields and the lines they stand in: whole numbers if nearly all are. The others
/// are bad rows then, where real text ids, such as ISBNs, have many that are not. One id that would change as a number
/// makes all of them texts, as `007` and `7` would be one, and so does one that is too large a number.
pub(super) fn look_at_ids<'a>(fields: impl Iterator<Item = (u64, &'a str)>, values: &Values) -> IdLook {
    let (mut read, mut texts, mut first_text) = (0, 0, None);
    let text = |because| IdLook { kind: IdKind::Text, because };
    for (line, field) in fields {
        if values.is_missing(field) {
            continue;
        }
        read += 1;
        match whole_number(field) {
            Some(WholeNumber::Same(_)) => {}
            Some(WholeNumber::Changed(_)) => {
                return text(format!("{} on line {line} would change as a number", shown(field)));
            }
            None if is_digits(field) => {
                return text(format!(
                    "{} on line {line} is larger than {}, which ids that are numbers can be",
                    shown(field),
                    i64::MAX
                ));
            }
            None => {
                texts += 1;
                first_text.get_or_insert((line, field));
            }
        }
    }
    match first_text {
        Some((line, field)) if texts * ROWS_PER_TEXT_ID > read => {
            text(format!("{} on line {line} is not a whole number", shown(field)))
        }
        Some(_) => IdLook {
            kind: IdKind::Integer,
            because: format!("nearly all of the first {read} are whole numbers"),
        },
        None => IdLook { kind: IdKind::Integer, because: format!("the first {read} are whole numbers") },
    }
}

fn is_digits(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::SourceFile;

    use super::*;

    fn look(ids: &[&str]) -> IdLook {
        look_at_ids((2..).zip(ids.iter().copied()), &Values::new(&SourceFile::default()))
    }

    #[test]
    fn the_reason_names_the_id_and_its_line() {
        for (ids, kind, because) in [
            (&["7", "1.0", "NULL", "-3"][..], IdKind::Integer, "the first 3 are whole numbers"),
            (&["7", "8", "007"], IdKind::Text, "'007' on line 4 would change as a number"),
            (
                &["7", "0943396042", "155970554X"],
                IdKind::Text,
                "'0943396042' on line 3 would change as a number",
            ),
            (&["7", "tt1"], IdKind::Text, "'tt1' on line 3 is not a whole number"),
            (
                &["9223372036854775807", "9223372036854775808"],
                IdKind::Text,
                "'9223372036854775808' on line 3 is larger than 9223372036854775807, which ids that are numbers can be",
            ),
        ] {
            assert_eq!(look(ids), IdLook { kind, because: because.to_owned() });
        }
        let mut many = vec!["7"; 200];
        many[100] = "x";
        assert_eq!(look(&many).kind, IdKind::Integer);
        many[101] = "18446744073709551615";
        assert_eq!(look(&many).kind, IdKind::Text);
    }
}
