//! What the fields of a row mean, by the rules of its file: ids, ratings, times, and words for no value. Pure.
//!
//! Text and Parquet come here with whatever is not read on a short way, so that both have the same bounds, the same
//! words for no value and the same reasons.

mod ids;
mod times;

pub use ids::{WholeNumber, whole_number};
use shoal_common::ids::IdKind;
use shoal_format::row::IdRef;
use shoal_proto::v1::{Side, SourceFile};
pub use times::{TIME_MAX, TIME_MIN, TimeRuleError, Times, per_second, unit_of};

use super::rejection::Reason;

/// Words that stand for no value unless others are given, in lower case. An empty field always does.
pub const NULL_WORDS: [&str; 6] = ["nan", "null", "none", "na", "n/a", "\\n"];

/// Ratings beyond this are no ratings, neither up nor down: play counts and seconds of listening are below it.
pub const RATING_MAX: f64 = 1e9;

/// Between the genres of an item where a file says nothing else.
const GENRE_SEPARATOR: char = '|';

/// How the fields of one file are read.
#[derive(Debug, Clone)]
pub struct Values {
    /// How times are read.
    pub times: Times,
    /// Words that stand for no value, in lower case.
    null_words: Vec<String>,
    /// Whether `null_words` have only letters of ASCII, whose case needs no table.
    null_words_are_ascii: bool,
    decimal_comma: bool,
    changed_ids: [bool; 2],
    genre_separator: char,
}

impl Values {
    /// The rules of a file.
    #[must_use]
    pub fn new(file: &SourceFile) -> Self {
        let rules = file.values.clone().unwrap_or_default();
        let null_words: Vec<String> = match &file.values {
            Some(rules) => rules.null_words.iter().map(|word| word.trim().to_lowercase()).collect(),
            None => NULL_WORDS.map(str::to_owned).into(),
        };
        Self {
            times: Times::new(&rules.time.unwrap_or_default()).unwrap_or_default(),
            null_words_are_ascii: null_words.iter().all(|word| word.is_ascii()),
            null_words,
            decimal_comma: rules.decimal_comma,
            changed_ids: [rules.changed_user_ids, rules.changed_item_ids],
            genre_separator: rules.genre_separator.chars().next().unwrap_or(GENRE_SEPARATOR),
        }
    }

    /// Whether a comma divides whole from fraction.
    #[must_use]
    pub fn has_decimal_commas(&self) -> bool {
        self.decimal_comma
    }

    /// Whether a field stands for no value.
    #[must_use]
    pub fn is_missing(&self, field: &str) -> bool {
        let text = field.trim();
        text.is_empty() || self.is_null_word(text)
    }

    /// Whether a text without blanks around it is a word for no value.
    #[must_use]
    pub fn is_null_word(&self, text: &str) -> bool {
        self.null_words.iter().any(|word| word.eq_ignore_ascii_case(text))
            || (!self.null_words_are_ascii && self.null_words.contains(&text.to_lowercase()))
    }

    /// An id of this kind.
    ///
    /// # Errors
    /// When there is none, or it is not of this kind.
    pub fn id<'a>(&self, field: &'a str, kind: IdKind, side: Side) -> Result<IdRef<'a>, Reason> {
        let (empty, missing, no_number, changed) = match side {
            Side::Items => {
                (Reason::EmptyItem, Reason::MissingItem, Reason::ItemNotInteger, Reason::ItemWouldChange)
            }
            _ => (Reason::EmptyUser, Reason::MissingUser, Reason::UserNotInteger, Reason::UserWouldChange),
        };
        let text = field.trim();
        if text.is_empty() {
            return Err(empty);
        }
        if self.is_null_word(text) {
            return Err(missing);
        }
        match (kind, whole_number(text)) {
            (IdKind::Text, _) => Ok(IdRef::Text(text)),
            (IdKind::Integer, Some(WholeNumber::Same(id))) => Ok(IdRef::Integer(id)),
            (IdKind::Integer, Some(WholeNumber::Changed(id))) => {
                let is_wanted = self.changed_ids[usize::from(side == Side::Items)];
                if is_wanted { Ok(IdRef::Integer(id)) } else { Err(changed) }
            }
            (IdKind::Integer, None) => Err(no_number),
        }
    }

    /// A rating. NaN and infinities are numbers here, and are for [`Rules`](super::parse::Rules) to refuse.
    ///
    /// # Errors
    /// When it is missing or not a number.
    pub fn rating(&self, field: &str) -> Result<f64, Reason> {
        let text = field.trim();
        if self.is_missing(text) {
            return Err(Reason::MissingRating);
        }
        if self.decimal_comma {
            // A point would divide thousands there, so a text with one may mean either.
            let number = if text.contains('.') { None } else { text.replacen(',', ".", 1).parse().ok() };
            return number.ok_or(Reason::RatingNotNumber);
        }
        text.parse().map_err(|_| {
            let with_point: Result<f64, _> = text.replacen(',', ".", 1).parse();
            if with_point.is_ok() { Reason::RatingHasComma } else { Reason::RatingNotNumber }
        })
    }

    /// A time in seconds since 1970; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or no rating was made then.
    pub fn time(&self, field: &str) -> Result<Option<i64>, Reason> {
        if self.is_missing(field) {
            return Ok(None);
        }
        let cannot = if self.times.has_format() { Reason::TimeNotInFormat } else { Reason::BadTimestamp };
        self.times.read(field.trim()).ok_or(cannot).and_then(plausible_time).map(Some)
    }

    /// Genres, separated by `|`.
    #[must_use]
    pub fn genres(&self, field: &str) -> String {
        if self.is_null_word(field.trim()) {
            return String::new();
        }
        super::fields::genres(field, self.genre_separator)
    }

    /// The year of an item: a year, or a date that begins with one.
    #[must_use]
    pub fn year(&self, field: &str) -> Option<i32> {
        let text = field.trim();
        let (year, rest) = text.split_at_checked(4)?;
        let year: i32 = year.parse().ok()?;
        let ends = rest.is_empty() || rest.starts_with(['-', '/', '.', ' ']);
        (ends && (1800..=2200).contains(&year)).then_some(year)
    }
}

/// The time, if ratings can have been made then.
///
/// # Errors
/// When none can.
pub fn plausible_time(seconds: i64) -> Result<i64, Reason> {
    if (TIME_MIN..TIME_MAX).contains(&seconds) { Ok(seconds) } else { Err(Reason::ImplausibleTime) }
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::ValueRules;

    use super::*;

    fn values(rules: ValueRules) -> Values {
        Values::new(&SourceFile { values: Some(rules), ..SourceFile::default() })
    }

    #[test]
    fn words_for_no_value_can_be_replaced() {
        let usual = Values::new(&SourceFile::default());
        for word in ["", "  ", "NaN", "NULL", "null", "\\N", "None", "NA", "n/a"] {
            assert!(usual.is_missing(word), "{word}");
        }
        for text in ["0", "nano", "Nadja", "annull"] {
            assert!(!usual.is_missing(text), "{text}");
        }
        let own = values(ValueRules { null_words: vec!["Élan".into()], ..ValueRules::default() });
        assert!(own.is_missing("éLAN") && !own.is_missing("NULL"));
        assert_eq!(own.id("NULL", IdKind::Text, Side::Users), Ok(IdRef::Text("NULL")));
        assert_eq!(usual.id("NULL", IdKind::Text, Side::Users), Err(Reason::MissingUser));
    }

    #[test]
    fn numbers_with_decimal_commas_are_read_when_they_are_announced() {
        let (plain, commas) = (
            Values::new(&SourceFile::default()),
            values(ValueRules { decimal_comma: true, ..ValueRules::default() }),
        );
        assert_eq!(plain.rating("4,5"), Err(Reason::RatingHasComma));
        assert_eq!(plain.rating("4,5,6"), Err(Reason::RatingNotNumber));
        assert_eq!((commas.rating("4,5"), commas.rating("-3")), (Ok(4.5), Ok(-3.0)));
        assert_eq!(commas.rating("4.5"), Err(Reason::RatingNotNumber));
    }

    #[test]
    fn ids_that_a_number_would_change_are_numbers_only_when_asked_for() {
        let usual = Values::new(&SourceFile::default());
        let asked = values(ValueRules { changed_item_ids: true, ..ValueRules::default() });
        let item =
            |values: &Values, text| values.id(text, IdKind::Integer, Side::Items).map(IdRef::to_entity);
        assert_eq!(item(&usual, "007"), Err(Reason::ItemWouldChange));
        assert_eq!(item(&asked, "007"), Ok(IdRef::Integer(7).to_entity()));
        assert_eq!(item(&usual, "-7.00"), Ok(IdRef::Integer(-7).to_entity()));
        assert_eq!(item(&usual, "7.5"), Err(Reason::ItemNotInteger));
    }

    #[test]
    fn years_stand_alone_or_before_a_date() {
        let values = Values::new(&SourceFile::default());
        for (text, year) in [
            ("1995", Some(1995)),
            (" 1995.0 ", Some(1995)),
            ("1995-10-30", Some(1995)),
            ("95", None),
            ("19951030", None),
            ("9999", None),
            ("été", None),
        ] {
            assert_eq!(values.year(text), year, "{text}");
        }
    }
}
