//! Random tables, written in every way that is read, come back as they were.

use proptest::prelude::*;
use shoal_proto::v1::{HeaderChoice, TimeUnit};

use super::*;

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Clock {
    None,
    Number(TimeUnit),
    Iso,
    DayFirst,
}

/// How a table is written.
#[derive(Debug, Clone)]
struct Dialect {
    delimiter: &'static str,
    quoted: bool,
    header: bool,
    crlf: bool,
    last_newline: bool,
    mark: bool,
    clock: Clock,
    decimal_comma: bool,
    has_ratings: bool,
    swapped: bool,
    text_ids: bool,
    floats: bool,
    null_word: &'static str,
    /// Every so many rows the time is missing, and one more row has no user.
    every: usize,
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let clock = prop::sample::select(vec![
        Clock::None,
        Clock::Number(TimeUnit::Seconds),
        Clock::Number(TimeUnit::Milliseconds),
        Clock::Number(TimeUnit::Microseconds),
        Clock::Number(TimeUnit::Nanoseconds),
        Clock::Iso,
        Clock::DayFirst,
    ]);
    let first = (
        prop::sample::select(vec![",", ";", "\t", "|", "::"]),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        clock,
    );
    let second = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec!["", "NULL", "nan", "\\N", "None"]),
        2_usize..5,
    );
    (first, second).prop_map(|(first, second)| {
        let (delimiter, quoted, header, crlf, last_newline, mark, clock) = first;
        let (decimal_comma, has_ratings, swapped, text_ids, floats, null_word, every) = second;
        Dialect {
            delimiter,
            // Nothing is quoted where two bytes divide fields.
            quoted: quoted && delimiter != "::",
            header,
            crlf,
            last_newline,
            mark,
            clock,
            decimal_comma: decimal_comma && (delimiter != "," || quoted),
            has_ratings,
            swapped,
            text_ids,
            floats: floats && !text_ids,
            null_word,
            every,
        }
    })
}

/// A row: user, item, half stars, seconds.
type TableRow = (i64, i64, u8, i64);

impl Dialect {
    fn id(&self, prefix: &str, id: i64) -> String {
        match (self.text_ids, self.floats) {
            // Some would be numbers, if not the numbers that they are as texts.
            (true, _) if id % 3 == 0 => format!("0{id}"),
            (true, _) => format!("{prefix}{id}"),
            (_, true) => format!("{id}.0"),
            _ => id.to_string(),
        }
    }

    fn entity(&self, prefix: &str, id: i64) -> EntityId {
        if self.text_ids { text(&self.id(prefix, id)) } else { integer(id) }
    }

    fn rating(&self, halves: u8) -> String {
        let rating = format!("{:.1}", f32::from(halves) / 2.0);
        if self.decimal_comma { rating.replace('.', ",") } else { rating }
    }

    fn time(&self, seconds: i64) -> String {
        let day = seconds / 86_400 % 28 + 1;
        let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
        match self.clock {
            Clock::None => String::new(),
            Clock::Number(TimeUnit::Milliseconds) => format!("{seconds}007"),
            Clock::Number(TimeUnit::Microseconds) => format!("{seconds}000007"),
            Clock::Number(TimeUnit::Nanoseconds) => format!("{seconds}000000007"),
            Clock::Number(_) => seconds.to_string(),
            Clock::Iso => format!("2015-03-{day:02} {hour:02}:{minute:02}:{second:02}"),
            Clock::DayFirst => format!("{day:02}.03.2015 {hour:02}:{minute:02}:{second:02}"),
        }
    }

    /// What the time is once it is read.
    fn read_time(&self, seconds: i64) -> i64 {
        const MARCH_2015: i64 = 1_425_168_000;
        match self.clock {
            Clock::None => 0,
            Clock::Number(_) => seconds,
            Clock::Iso | Clock::DayFirst => MARCH_2015 + seconds / 86_400 % 28 * 86_400 + seconds % 86_400,
        }
    }

    fn has_times(&self) -> bool {
        self.clock != Clock::None
    }

    fn line(&self, fields: [String; 4]) -> String {
        let [user, item, rating, time] = fields;
        let mut fields = if self.swapped { vec![item, user] } else { vec![user, item] };
        fields.extend(self.has_ratings.then_some(rating));
        fields.extend(self.has_times().then_some(time));
        if self.quoted {
            fields = fields.iter().map(|field| format!("\"{field}\"")).collect();
        }
        fields.join(self.delimiter)
    }

    fn is_timeless(&self, at: usize) -> bool {
        self.has_times() && at % self.every == 1
    }

    /// The file, and how many of its rows have no user.
    fn write(&self, rows: &[TableRow]) -> (String, u64) {
        let mut lines = Vec::new();
        if self.header {
            lines.push(self.line(["user_id", "Item", "rating", "timestamp"].map(str::to_owned)));
        }
        let mut nobodies = 0;
        for (at, &(user, item, halves, seconds)) in rows.iter().enumerate() {
            let time = if self.is_timeless(at) { self.null_word.to_owned() } else { self.time(seconds) };
            let fields = [self.id("u", user), self.id("i", item), self.rating(halves), time];
            if at % self.every == 0 {
                let mut nobody = fields.clone();
                self.null_word.clone_into(&mut nobody[0]);
                lines.push(self.line(fields));
                lines.push(self.line(nobody));
                nobodies += 1;
            } else {
                lines.push(self.line(fields));
            }
        }
        let line_end = if self.crlf { "\r\n" } else { "\n" };
        let mut file = String::from(if self.mark { "\u{feff}" } else { "" });
        file.push_str(&lines.join(line_end));
        if self.last_newline {
            file.push_str(line_end);
        }
        (file, nobodies)
    }

    /// What has to be said of the file: not more than the first rows leave open.
    fn source(&self) -> DatasetSource {
        let mut source = DatasetSource { decimal_comma: self.decimal_comma, ..DatasetSource::default() };
        if self.clock == Clock::DayFirst {
            source.time_format = "%d.%m.%Y %H:%M:%S".into();
        }
        // Without a header and without a number the first row could be either.
        let unclear = self.text_ids && !self.has_ratings && !self.has_times();
        if !self.header && (self.swapped || self.clock == Clock::DayFirst || unclear) {
            let (user, item) = if self.swapped { ("2", "1") } else { ("1", "2") };
            source.header = HeaderChoice::Absent.into();
            (source.user_column, source.item_column) = (user.into(), item.into());
            if self.has_ratings {
                source.rating_column = "3".into();
            }
            if self.has_times() {
                source.time_column = if self.has_ratings { "4" } else { "3" }.into();
            }
        }
        source
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn a_table_is_read_as_it_was_written(
        dialect in dialects(),
        rows in prop::collection::vec((1_i64..1_000, 1_i64..1_000, 1_u8..=10, 1_000_000_000_i64..1_500_000_000), 8..40),
    ) {
        let (file, nobodies) = dialect.write(&rows);
        let found = read("table.txt", &[("table.txt", &file)], dialect.source());
        let found = found.map_err(|error| TestCaseError::fail(format!("{error}\n{file}")))?;
        let expected: Vec<Rating> = rows
            .iter()
            .enumerate()
            .map(|(at, &(user, item, halves, seconds))| {
                let rating = if dialect.has_ratings { f32::from(halves) / 2.0 } else { 1.0 };
                let time = if dialect.is_timeless(at) { 0 } else { dialect.read_time(seconds) };
                (dialect.entity("u", user), dialect.entity("i", item), rating, time)
            })
            .collect();
        prop_assert_eq!(&found.ratings, &expected, "{}", file);
        let report = &found.reports[0];
        prop_assert_eq!(report.rows_read - report.rows_accepted, nobodies);
        let timeless = (0..rows.len()).filter(|&at| dialect.is_timeless(at)).count() as u64;
        prop_assert_eq!(report.rows_without_time, timeless);
    }
}
