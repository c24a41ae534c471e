//! Flags that say how files are read where the first rows do not tell, or tell it wrong.

use shoal_proto::v1::{DatasetSource, DuplicateRule, HeaderChoice, IdKind, NullWords, TimeUnit};

/// How files are read.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How the files are read")]
pub(in crate::cli) struct ReadingArgs {
    /// Column of the user ids: its name, or its number from 1
    #[arg(long, value_name = "COLUMN")]
    user_col: Option<String>,
    /// Column of the item ids
    #[arg(long, value_name = "COLUMN")]
    item_col: Option<String>,
    /// Column of the ratings
    #[arg(long, value_name = "COLUMN", conflicts_with = "no_rating")]
    rating_col: Option<String>,
    /// Read no rating: each row counts 1
    #[arg(long)]
    no_rating: bool,
    /// Column of the times
    #[arg(long, value_name = "COLUMN", conflicts_with = "no_time")]
    time_col: Option<String>,
    /// Read no time
    #[arg(long, conflicts_with_all = ["time_unit", "time_format", "time_zone"])]
    no_time: bool,
    /// Unit of times that are numbers; by default found out from their size
    #[arg(long, value_name = "UNIT", value_enum)]
    time_unit: Option<Unit>,
    /// How times are written, as of strftime: '%d.%m.%Y %H:%M'; by default numbers, or dates that begin with the year
    #[arg(long, value_name = "FORMAT")]
    time_format: Option<String>,
    /// Zone of times that name no offset: Europe/Berlin, +02:00; by default UTC
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true, hide_short_help = true)]
    time_zone: Option<String>,
    /// What stands between fields: ',' ';' '|' tab '::' or another character; by default found out
    #[arg(long, value_name = "DELIMITER", allow_hyphen_values = true)]
    delimiter: Option<String>,
    /// The first row names the columns
    #[arg(long, conflicts_with = "no_header", hide_short_help = true)]
    header: bool,
    /// The first row is data, and columns have numbers
    #[arg(long, hide_short_help = true)]
    no_header: bool,
    /// Encoding of the text files (utf-16le, windows-1252, shift_jis, …); by default UTF-8, or UTF-16 where a byte-order
    /// mark says so, and Windows-1252 for rows that are not UTF-8
    #[arg(long, value_name = "LABEL", hide_short_help = true)]
    encoding: Option<String>,
    /// Ratings are written 4,5
    #[arg(long)]
    decimal_comma: bool,
    /// Words that stand for no value, instead of nan, null, none, na, n/a and \N; an empty text means no words
    #[arg(
        long,
        value_name = "WORDS",
        value_delimiter = ',',
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    null_values: Option<Vec<String>>,
    /// What user ids are; by default found out from the first rows
    #[arg(long, value_name = "KIND", value_enum, hide_short_help = true)]
    user_ids: Option<Ids>,
    /// What item ids are
    #[arg(long, value_name = "KIND", value_enum, hide_short_help = true)]
    item_ids: Option<Ids>,
    /// What becomes of a pair that comes again; by default the last rating counts, or the rows where there is no rating
    #[arg(long, value_name = "RULE", value_enum)]
    duplicates: Option<Duplicates>,
    /// Read the items, tags and genome that lie beside a ratings file named by itself
    #[arg(long)]
    with_neighbours: bool,
    /// Column of the titles in the file of items
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    title_col: Option<String>,
    /// Column of the genres in the file of items
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    genres_col: Option<String>,
    /// Column of the years in the file of items
    #[arg(long, value_name = "COLUMN", hide_short_help = true)]
    year_col: Option<String>,
}

/// How ids are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Ids {
    /// Whole numbers
    Integer,
    /// Any text
    Text,
}

/// The unit of a number that is a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Unit {
    S,
    Ms,
    Us,
    Ns,
}

/// What becomes of a pair that comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Duplicates {
    /// The rating with the last time counts
    Last,
    /// The rating is how often the pair comes
    Count,
    /// The rating is the sum of the pair's
    Sum,
}

impl Ids {
    fn kind(self) -> IdKind {
        match self {
            Self::Integer => IdKind::Integer,
            Self::Text => IdKind::Text,
        }
    }
}

impl Unit {
    pub(in crate::cli) fn unit(self) -> TimeUnit {
        match self {
            Self::S => TimeUnit::Seconds,
            Self::Ms => TimeUnit::Milliseconds,
            Self::Us => TimeUnit::Microseconds,
            Self::Ns => TimeUnit::Nanoseconds,
        }
    }
}

impl Duplicates {
    pub(in crate::cli) fn rule(self) -> DuplicateRule {
        match self {
            Self::Last => DuplicateRule::Last,
            Self::Count => DuplicateRule::Count,
            Self::Sum => DuplicateRule::Sum,
        }
    }
}

/// Words for no value, as a flag has them: an empty one means no word.
pub(in crate::cli) fn null_words(words: &[String]) -> NullWords {
    NullWords { words: words.iter().filter(|word| !word.is_empty()).cloned().collect() }
}

impl ReadingArgs {
    /// The source, read as the flags say.
    pub(in crate::cli) fn source(&self, source: DatasetSource) -> DatasetSource {
        let text = |flag: &Option<String>| flag.clone().unwrap_or_default();
        let header = match (self.header, self.no_header) {
            (true, _) => HeaderChoice::Present,
            (_, true) => HeaderChoice::Absent,
            _ => HeaderChoice::Unspecified,
        };
        let null_words = self.null_values.as_deref().map(null_words);
        DatasetSource {
            user_column: text(&self.user_col),
            item_column: text(&self.item_col),
            rating_column: text(&self.rating_col),
            time_column: text(&self.time_col),
            user_id_kind: self.user_ids.map(Ids::kind).unwrap_or_default().into(),
            item_id_kind: self.item_ids.map(Ids::kind).unwrap_or_default().into(),
            delimiter: text(&self.delimiter),
            encoding: text(&self.encoding),
            header: header.into(),
            time_unit: self.time_unit.map(Unit::unit).unwrap_or_default().into(),
            time_format: text(&self.time_format),
            time_zone: text(&self.time_zone),
            no_time: self.no_time,
            no_rating: self.no_rating,
            decimal_comma: self.decimal_comma,
            null_words,
            duplicates: self.duplicates.map(Duplicates::rule).unwrap_or_default().into(),
            with_neighbours: self.with_neighbours,
            title_column: text(&self.title_col),
            genres_column: text(&self.genres_col),
            year_column: text(&self.year_col),
            ..source
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        reading: ReadingArgs,
    }

    fn source(flags: &[&str]) -> DatasetSource {
        let all = ["shoal"].iter().chain(flags);
        Command::try_parse_from(all).unwrap().reading.source(DatasetSource::default())
    }

    #[test]
    fn what_is_not_said_is_found_out() {
        assert_eq!(source(&[]), DatasetSource::default());
    }

    #[test]
    fn words_for_no_value_may_be_none_at_all() {
        let words = |flags: &[&str]| source(flags).null_words.map(|given| given.words);
        assert_eq!(words(&["--null-values", "-,none given"]), Some(vec!["-".into(), "none given".into()]));
        assert_eq!(words(&["--null-values", ""]), Some(vec![]));
    }

    #[test]
    fn an_offset_west_of_greenwich_is_a_zone() {
        assert_eq!(source(&["--time-zone", "-05:00"]).time_zone, "-05:00");
        assert!(Command::try_parse_from(["shoal", "--no-time", "--time-unit", "ms"]).is_err());
    }
}
