//! Flags that say how the file of `--test` is read.

use shoal_proto::v1::{DatasetInfo, DatasetSource, HeaderChoice, TimeUnit};

use crate::cli::dataset::reading::{Duplicates, Unit, null_words};

/// How the file of `--test` is read, where it is not as the data set's own files were. What ids are is as in the data set.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "How the file of --test is read")]
pub(super) struct TestReading {
    /// Column of the user ids in the file of --test; by default its columns are those that the data set was imported with
    #[arg(long, value_name = "COLUMN", requires = "test", hide_short_help = true)]
    test_user_col: Option<String>,
    /// Column of the item ids in the file of --test
    #[arg(long, value_name = "COLUMN", requires = "test", hide_short_help = true)]
    test_item_col: Option<String>,
    /// Column of the ratings in the file of --test
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "test",
        conflicts_with = "test_no_rating",
        hide_short_help = true
    )]
    test_rating_col: Option<String>,
    /// Read no rating in the file of --test: each row counts 1
    #[arg(long, requires = "test", hide_short_help = true)]
    test_no_rating: bool,
    /// Column of the times in the file of --test
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "test",
        conflicts_with = "test_no_time",
        hide_short_help = true
    )]
    test_time_col: Option<String>,
    /// Read no time in the file of --test
    #[arg(long, requires = "test", conflicts_with_all = ["test_time_unit", "test_time_format", "test_time_zone"], hide_short_help = true)]
    test_no_time: bool,
    /// Unit of times that are numbers in the file of --test
    #[arg(
        long,
        value_name = "UNIT",
        value_enum,
        requires = "test",
        conflicts_with = "test_time_format",
        hide_short_help = true
    )]
    test_time_unit: Option<Unit>,
    /// How times are written in the file of --test, as of strftime
    #[arg(long, value_name = "FORMAT", requires = "test", hide_short_help = true)]
    test_time_format: Option<String>,
    /// Zone of times that name no offset in the file of --test
    #[arg(long, value_name = "ZONE", requires = "test", allow_hyphen_values = true, hide_short_help = true)]
    test_time_zone: Option<String>,
    /// What stands between fields in the file of --test
    #[arg(
        long,
        value_name = "DELIMITER",
        requires = "test",
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    test_delimiter: Option<String>,
    /// The first row of the file of --test names the columns
    #[arg(long, requires = "test", conflicts_with = "test_no_header", hide_short_help = true)]
    test_header: bool,
    /// The first row of the file of --test is data, and columns have numbers
    #[arg(long, requires = "test", hide_short_help = true)]
    test_no_header: bool,
    /// Encoding of the file of --test
    #[arg(long, value_name = "LABEL", requires = "test", hide_short_help = true)]
    test_encoding: Option<String>,
    /// Ratings in the file of --test are written 4,5; with `false` they are written 4.5
    #[arg(
        long,
        value_name = "true|false",
        num_args = 0..=1,
        default_missing_value = "true",
        requires = "test",
        hide_short_help = true
    )]
    test_decimal_comma: Option<bool>,
    /// Words that stand for no value in the file of --test; an empty text means no words
    #[arg(
        long,
        value_name = "WORDS",
        value_delimiter = ',',
        allow_hyphen_values = true,
        requires = "test",
        hide_short_help = true
    )]
    test_null_values: Option<Vec<String>>,
    /// What becomes of a pair that comes again in the file of --test
    #[arg(long, value_name = "RULE", value_enum, requires = "test", hide_short_help = true)]
    test_duplicates: Option<Duplicates>,
}

impl TestReading {
    /// How the file is read: as the data set's own, but for what was said; absent where nothing was.
    pub(super) fn source(&self, dataset: &DatasetInfo) -> Option<DatasetSource> {
        if *self == Self::default() {
            return None;
        }
        let mut source = DatasetSource {
            uri: String::new(),
            more_uris: Vec::new(),
            ..dataset.source.clone().unwrap_or_default()
        };
        self.say_columns(&mut source);
        self.say_times(&mut source);
        if let Some(delimiter) = &self.test_delimiter {
            delimiter.clone_into(&mut source.delimiter);
        }
        if let Some(encoding) = &self.test_encoding {
            encoding.clone_into(&mut source.encoding);
        }
        if let Some(comma) = self.test_decimal_comma {
            source.decimal_comma = comma;
        }
        if let Some(words) = &self.test_null_values {
            source.null_words = Some(null_words(words));
        }
        if let Some(duplicates) = self.test_duplicates {
            source.set_duplicates(duplicates.rule());
        }
        Some(source)
    }

    fn say_columns(&self, source: &mut DatasetSource) {
        for (said, column) in [
            (&self.test_user_col, &mut source.user_column),
            (&self.test_item_col, &mut source.item_column),
            (&self.test_rating_col, &mut source.rating_column),
            (&self.test_time_col, &mut source.time_column),
        ] {
            if let Some(said) = said {
                said.clone_into(column);
            }
        }
        // A column that is named is read, and one that is not read has no name.
        if self.test_rating_col.is_some() {
            source.no_rating = false;
        }
        if self.test_no_rating {
            (source.no_rating, source.rating_column) = (true, String::new());
        }
        match (self.test_header, self.test_no_header) {
            (true, _) => source.set_header(HeaderChoice::Present),
            (_, true) => source.set_header(HeaderChoice::Absent),
            _ => {}
        }
    }

    fn say_times(&self, source: &mut DatasetSource) {
        let says_times = self.test_time_col.is_some()
            || self.test_time_unit.is_some()
            || self.test_time_format.is_some()
            || self.test_time_zone.is_some();
        if says_times {
            source.no_time = false;
        }
        if self.test_no_time {
            let timeless = DatasetSource { no_time: true, ..DatasetSource::default() };
            let DatasetSource { no_time, time_column, time_unit, time_format, time_zone, .. } = timeless;
            *source = DatasetSource {
                no_time,
                time_column,
                time_unit,
                time_format,
                time_zone,
                ..std::mem::take(source)
            };
        }
        // Numbers have a unit, texts a format.
        if let Some(unit) = self.test_time_unit {
            source.set_time_unit(unit.unit());
            source.time_format.clear();
        }
        if let Some(format) = &self.test_time_format {
            format.clone_into(&mut source.time_format);
            source.set_time_unit(TimeUnit::Unspecified);
        }
        if let Some(zone) = &self.test_time_zone {
            zone.clone_into(&mut source.time_zone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser as _;
    use shoal_proto::v1::{DuplicateRule, NullWords};

    use super::*;
    use crate::cli::dataset::reading::ReadingArgs;

    #[derive(clap::Parser)]
    struct Command {
        #[arg(long)]
        test: Option<String>,
        #[command(flatten)]
        reading: TestReading,
    }

    #[derive(clap::Parser)]
    struct Import {
        #[command(flatten)]
        _reading: ReadingArgs,
    }

    fn flags<C: clap::Parser>() -> BTreeSet<String> {
        C::command().get_arguments().filter_map(|flag| flag.get_long().map(str::to_owned)).collect()
    }

    fn read(flags: &[&str], imported: &DatasetSource) -> Option<DatasetSource> {
        let dataset = DatasetInfo { source: Some(imported.clone()), ..DatasetInfo::default() };
        let all = ["shoal", "--test", "t.csv"].iter().chain(flags);
        let command = Command::try_parse_from(all).unwrap();
        assert_eq!(command.test.as_deref(), Some("t.csv"));
        command.reading.source(&dataset)
    }

    #[test]
    fn whatever_an_import_is_told_of_ratings_can_be_told_of_this_file() {
        // Ids are what they are in the data set, and one file has no catalogue.
        let others = ["user-ids", "item-ids", "with-neighbours", "title-col", "genres-col", "year-col"];
        let import = flags::<Import>();
        let wanted = import.iter().filter(|flag| !others.contains(&flag.as_str()));
        let missing: Vec<String> = wanted
            .map(|flag| format!("test-{flag}"))
            .filter(|flag| !flags::<Command>().contains(flag))
            .collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn what_is_not_said_is_as_the_data_set_was_read() {
        let imported = DatasetSource {
            uri: "/r.csv".to_owned(),
            more_uris: vec!["/s.csv".to_owned()],
            user_column: "customer".to_owned(),
            item_column: "sku".to_owned(),
            decimal_comma: true,
            ..DatasetSource::default()
        };
        assert_eq!(read(&[], &imported), None);
        let expected = DatasetSource {
            user_column: "customer".to_owned(),
            item_column: "article".to_owned(),
            decimal_comma: true,
            ..DatasetSource::default()
        };
        assert_eq!(read(&["--test-item-col", "article"], &imported), Some(expected.clone()));
        let comma = |flag: &[&str]| read(flag, &imported).map(|source| source.decimal_comma);
        assert_eq!(comma(&["--test-decimal-comma", "false"]), Some(false));
        assert_eq!(comma(&["--test-decimal-comma"]), Some(true));
    }

    #[test]
    fn each_choice_takes_the_place_of_what_the_import_was_told() {
        let imported = DatasetSource {
            no_rating: true,
            time_column: "when".to_owned(),
            time_format: "%d.%m.%Y".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            delimiter: ";".to_owned(),
            header: HeaderChoice::Present.into(),
            duplicates: DuplicateRule::Count.into(),
            ..DatasetSource::default()
        };
        let said = read(
            &[
                "--test-rating-col",
                "stars",
                "--test-time-unit",
                "ms",
                "--test-no-header",
                "--test-delimiter",
                "tab",
                "--test-duplicates",
                "last",
                "--test-null-values",
                "-,none given",
                "--test-encoding",
                "utf-16le",
            ],
            &imported,
        );
        let expected = DatasetSource {
            rating_column: "stars".to_owned(),
            no_rating: false,
            time_format: String::new(),
            time_unit: TimeUnit::Milliseconds.into(),
            header: HeaderChoice::Absent.into(),
            delimiter: "tab".to_owned(),
            duplicates: DuplicateRule::Last.into(),
            null_words: Some(NullWords { words: vec!["-".to_owned(), "none given".to_owned()] }),
            encoding: "utf-16le".to_owned(),
            ..imported.clone()
        };
        assert_eq!(said, Some(expected));

        let timeless = read(&["--test-no-time"], &imported).unwrap();
        assert!(timeless.no_time && timeless.time_column.is_empty() && timeless.time_format.is_empty());
        let timed = read(&["--test-time-format", "%Y", "--test-time-zone", "-05:00"], &timeless).unwrap();
        assert_eq!((timed.no_time, &*timed.time_format, &*timed.time_zone), (false, "%Y", "-05:00"));
        let unrated =
            read(&["--test-no-rating"], &DatasetSource { rating_column: "r".to_owned(), ..imported.clone() });
        let unrated = unrated.unwrap();
        assert!(unrated.no_rating && unrated.rating_column.is_empty());
    }
}
