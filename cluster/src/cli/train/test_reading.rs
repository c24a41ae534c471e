//! Flags that say how the file of `--test` is read.

use shoal_proto::v1::{DatasetInfo, DatasetSource};

/// How the file of `--test` is read, where it is not as the data set's own files were.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TestReading {
    /// Column of the user ids in the file of --test; by default its columns are those that the data set was imported with
    #[arg(long, value_name = "COLUMN", requires = "test", hide_short_help = true)]
    test_user_col: Option<String>,
    /// Column of the item ids in the file of --test
    #[arg(long, value_name = "COLUMN", requires = "test", hide_short_help = true)]
    test_item_col: Option<String>,
    /// Column of the ratings in the file of --test
    #[arg(long, value_name = "COLUMN", requires = "test", hide_short_help = true)]
    test_rating_col: Option<String>,
    /// Column of the times in the file of --test
    #[arg(long, value_name = "COLUMN", requires = "test", hide_short_help = true)]
    test_time_col: Option<String>,
    /// How times are written in the file of --test, as of strftime
    #[arg(long, value_name = "FORMAT", requires = "test", hide_short_help = true)]
    test_time_format: Option<String>,
    /// What stands between fields in the file of --test
    #[arg(
        long,
        value_name = "DELIMITER",
        requires = "test",
        allow_hyphen_values = true,
        hide_short_help = true
    )]
    test_delimiter: Option<String>,
    /// Encoding of the file of --test
    #[arg(long, value_name = "LABEL", requires = "test", hide_short_help = true)]
    test_encoding: Option<String>,
}

impl TestReading {
    /// How the file is read: as the data set's own, but for what was said; absent where nothing was.
    pub(super) fn source(&self, dataset: &DatasetInfo) -> Option<DatasetSource> {
        let mut source = DatasetSource {
            uri: String::new(),
            more_uris: Vec::new(),
            ..dataset.source.clone().unwrap_or_default()
        };
        let DatasetSource {
            user_column,
            item_column,
            rating_column,
            time_column,
            time_format,
            delimiter,
            encoding,
            ..
        } = &mut source;
        let mut any = false;
        for (said, field) in [
            (&self.test_user_col, user_column),
            (&self.test_item_col, item_column),
            (&self.test_rating_col, rating_column),
            (&self.test_time_col, time_column),
            (&self.test_time_format, time_format),
            (&self.test_delimiter, delimiter),
            (&self.test_encoding, encoding),
        ] {
            if let Some(said) = said {
                said.clone_into(field);
                any = true;
            }
        }
        any.then_some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let dataset = DatasetInfo { source: Some(imported), ..DatasetInfo::default() };
        assert_eq!(TestReading::default().source(&dataset), None);
        let said = TestReading { test_item_col: Some("article".to_owned()), ..TestReading::default() };
        let expected = DatasetSource {
            user_column: "customer".to_owned(),
            item_column: "article".to_owned(),
            decimal_comma: true,
            ..DatasetSource::default()
        };
        assert_eq!(said.source(&dataset), Some(expected));
    }
}
