//! Ids as numbers.

/// A text that is a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholeNumber {
    /// One whose digits are the text, or a whole float (`7.0`), as tools write ids of columns with missing values.
    Same(i64),
    /// One that other texts are too: `007`, `+7`, `-0`.
    Changed(i64),
}

/// The whole number that a text without blanks around it is; `None` when it is none, or larger than an i64.
#[must_use]
pub fn whole_number(text: &str) -> Option<WholeNumber> {
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    let number: i64 = whole.parse().ok()?;
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let changes = digits.starts_with('+')
        || (digits.len() > 1 && digits.starts_with('0'))
        || (number == 0 && digits.len() < whole.len());
    Some(if changes { WholeNumber::Changed(number) } else { WholeNumber::Same(number) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_that_is_the_same_is_written_as_it_was(text in "[-+]?[0-9]{1,19}(\\.0{1,2})?") {
            let digits = text.split('.').next().unwrap();
            match whole_number(&text) {
                Some(WholeNumber::Same(number)) => prop_assert_eq!(number.to_string(), digits),
                Some(WholeNumber::Changed(number)) => prop_assert_ne!(number.to_string(), digits),
                None => prop_assert!(digits.parse::<i64>().is_err()),
            }
        }
    }

    #[test]
    fn what_is_no_whole_number() {
        for text in ["", "-", "7.", "7.5", "1e3", "0x7", "9223372036854775808", "7 7", "٧"] {
            assert_eq!(whole_number(text), None, "{text}");
        }
    }
}
