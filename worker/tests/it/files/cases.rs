//! One small file of each kind that used to be read wrong, or not at all.

use shoal_proto::v1::{DuplicateRule, HeaderChoice, IdKind as Kind, NullWords, TimeUnit};

use super::*;

fn ratings(file: &str, source: DatasetSource) -> Result<Read, Failed> {
    read("ratings.csv", &[("ratings.csv", file)], source)
}

fn usual(file: &str) -> Read {
    ratings(file, DatasetSource::default()).unwrap()
}

fn refusal(file: &str, source: DatasetSource) -> String {
    let error = ratings(file, source).unwrap_err();
    assert!(matches!(error, Failed::Source(_)));
    error.to_string()
}

#[test]
fn whole_floats_are_integer_ids() {
    let found = read(
        "",
        &[
            ("ratings.csv", "userId,movieId,rating\n1.0,10.0,4\n2.0,11.0,3\n"),
            ("movies.csv", "movieId,title\n10,A (1961)\n11.0,B (1962)\n"),
        ],
        DatasetSource::default(),
    )
    .unwrap();
    assert_eq!(found.ratings[0], (integer(1), integer(10), 4.0, 0));
    assert_eq!(
        found.movies.iter().map(|movie| movie.0.clone()).collect::<Vec<_>>(),
        [integer(10), integer(11)]
    );
}

#[test]
fn parts_without_anything_in_them_are_told() {
    let part = "userId,movieId,rating\n1,2,3\n";
    let files = [("a.csv", part), ("b.csv", ""), ("c.csv", "\u{feff}"), ("d.csv", part)];
    for name in ["", "*.csv"] {
        let found = read(name, &files, DatasetSource::default()).unwrap();
        let look = found.found.look.as_ref().unwrap();
        assert_eq!(look.files.iter().map(|file| &*file.file).collect::<Vec<_>>(), ["a.csv", "d.csv"]);
        assert_eq!(
            (&look.empty_files[..], look.empty_file_count),
            (&["b.csv", "c.csv"].map(str::to_owned)[..], 2)
        );
    }
    let found = usual(part);
    assert_eq!(found.found.look.unwrap().empty_file_count, 0);
}

#[test]
fn rows_with_more_fields_than_columns_are_rejected() {
    let found = usual("userId,movieId,rating,timestamp\n1,1,4,0,964982703\n1,2,2,964986303\n1,3,0,5,9\n");
    assert_eq!(found.ratings, [(integer(1), integer(2), 2.0, 964_986_303)]);
    assert_eq!(found.rejected().len(), 1);
    assert_eq!((found.rejected()[0].1, found.rejected()[0].0.contains("more fields")), (2, true));
    // A header may end with a delimiter, and so may its rows then.
    let found = usual("userId,movieId,rating,\n1,2,3,\n1,3,4\n");
    assert_eq!((found.ratings.len(), found.rejected().len()), (2, 0));
}

#[test]
fn milliseconds_are_found_out_and_said() {
    let rows = "userId,movieId,rating,timestamp\n1,1,4,1262304000000\n1,2,2,1262804000999\n1,3,2,9223372036854775807\n";
    let found = usual(rows);
    let times: Vec<i64> = found.ratings.iter().map(|rating| rating.3).collect();
    assert_eq!(times, [1_262_304_000, 1_262_804_000]);
    assert_eq!(found.look(0).times, "milliseconds since 1970, kept as seconds");
    assert!(found.rejected()[0].0.contains("before 1970 or after 2199"));
    // As seconds none of them is a time.
    let seconds = DatasetSource { time_unit: TimeUnit::Seconds.into(), ..DatasetSource::default() };
    assert_eq!(ratings(rows, seconds).unwrap().rejected()[0].1, 3);
}

#[test]
fn dates_with_the_day_first_need_a_format_and_do_not_block() {
    let rows = "user,item,score,date\nu0,i0,1,03-01-2021 07:01\nu0,i1,1,29-01-2021 07:01\n";
    let found = usual(rows);
    assert_eq!(found.ratings, [(text("u0"), text("i0"), 1.0, 0), (text("u0"), text("i1"), 1.0, 0)]);
    assert!(found.look(0).notes.iter().any(|note| note.contains("'date'") && note.contains("--time-format")));
    assert_eq!(found.look(0).times, "");
    let given = DatasetSource { time_format: "%d-%m-%Y %H:%M".into(), ..DatasetSource::default() };
    let found = ratings(rows, given.clone()).unwrap();
    assert_eq!(found.ratings[0].3, 1_609_657_260);
    let zoned = DatasetSource { time_zone: "Europe/Berlin".into(), ..given };
    assert_eq!(ratings(rows, zoned).unwrap().ratings[0].3, 1_609_653_660);
    // A column that was asked for is not left out.
    let asked = DatasetSource { time_column: "date".into(), ..DatasetSource::default() };
    let found = ratings(rows, asked).unwrap();
    assert_eq!((found.ratings.len(), found.rejected()[0].1), (0, 2));
    let none = DatasetSource { no_time: true, ..DatasetSource::default() };
    let found = ratings(rows, none).unwrap();
    assert_eq!((found.ratings.len(), found.look(0).notes.len()), (2, 1));
}

#[test]
fn the_preferred_of_two_names_is_taken_and_both_are_told() {
    let found =
        usual("user,user_id,item,item_id,score,rating,date,timestamp\nAnn,1,T,2,1,3,2020-01-01,1600000001\n");
    assert_eq!(found.ratings, [(integer(1), integer(2), 3.0, 1_600_000_001)]);
    assert_eq!(
        found.columns(0),
        [("user", "user_id", 2), ("item", "item_id", 4), ("rating", "rating", 6), ("time", "timestamp", 8)]
    );
    assert_eq!(found.look(0).columns[0].candidates, ["user"]);
    let error = refusal("userId,user_id,item,rating\n1,2,3,4\n", DatasetSource::default());
    assert!(error.contains("'userId' and 'user_id'") && error.contains("--user-col"), "{error}");
}

#[test]
fn ids_that_would_change_as_numbers_make_the_column_text() {
    let rows = "userId,movieId,rating,timestamp\n1,007,5,1\n1,7,1,2\n2,07,3,4\n";
    let found = usual(rows);
    let items: Vec<EntityId> = found.ratings.iter().map(|rating| rating.1.clone()).collect();
    assert_eq!(items, [text("007"), text("7"), text("07")]);
    let look = found.found.look.as_ref().unwrap();
    assert_eq!(look.item_ids_because, "'007' on line 2 would change as a number");
    assert_eq!(look.user_ids_because, "the first 3 are whole numbers");
    let asked = DatasetSource { item_id_kind: Kind::Integer.into(), ..DatasetSource::default() };
    assert!(ratings(rows, asked).unwrap().ratings.iter().all(|rating| rating.1 == integer(7)));
}

#[test]
fn an_id_that_would_change_far_down_is_rejected_and_not_merged() {
    let mut rows = String::from("userId,movieId,rating\n");
    for user in 1..40_000 {
        rows.push_str(&format!("{user},7,5\n"));
    }
    rows.push_str("1,007,1\n");
    let found = usual(&rows);
    assert_eq!((found.ratings.len(), found.rejected()[0].1), (39_999, 1));
    assert!(found.rejected()[0].0.contains("--item-ids text"));
}

#[test]
fn a_wide_header_is_answered_in_a_few_words() {
    let names: Vec<String> = (0..3_000).map(|number| format!("item_number_{number}")).collect();
    let error = refusal(&format!("user,{}\n1\n", names.join(",")), DatasetSource::default());
    assert!(error.contains("--item-col COLUMN") && error.len() < 700, "{error}");
}

#[test]
fn the_delimiter_is_the_one_that_divides_rows_alike() {
    let rows = "user\titem\tstars\tcomment (free text, any language, up to 10, no html)\n\
        1\t1\t3\thello, you, there, all\n1\t2\t4\thello\n";
    let found = usual(rows);
    assert_eq!((found.ratings.len(), &*found.look(0).delimiter), (2, "tab"));
    let hats = "user^item^rating\n1^2^3\n";
    let given = DatasetSource { delimiter: "^".into(), ..DatasetSource::default() };
    assert_eq!(ratings(hats, given).unwrap().ratings.len(), 1);
    let error = refusal(hats, DatasetSource { delimiter: "ab".into(), ..DatasetSource::default() });
    assert!(error.contains("--delimiter"), "{error}");
    // Two bytes may divide named columns, too.
    let found = usual("movie::user::stars\n5::1::3.5\n");
    assert_eq!(found.ratings, [(integer(1), integer(5), 3.5, 0)]);
}

#[test]
fn decimal_commas_are_read_when_they_are_announced() {
    let rows = "userId;movieId;rating;timestamp\n1;1;4,5;964982703\n1;2;3;964982703\n";
    let found = usual(rows);
    assert!(found.rejected()[0].0.contains("--decimal-comma"));
    let given = DatasetSource { decimal_comma: true, ..DatasetSource::default() };
    let found = ratings(rows, given).unwrap();
    assert_eq!(found.ratings.iter().map(|rating| rating.2).collect::<Vec<_>>(), [4.5, 3.0]);
}

#[test]
fn rows_without_a_rating_count_one_each() {
    let clicks = "user,item,time\n0,0,1000\n0,1,1001\n0,0,1002\n";
    let found = usual(clicks);
    assert_eq!(found.ratings[0], (integer(0), integer(0), 1.0, 1_000));
    assert_eq!(found.found.duplicates(), DuplicateRule::Count);
    assert!(found.look(0).notes.iter().any(|note| note.contains("each row counts 1")));
    let last = DatasetSource { duplicates: DuplicateRule::Last.into(), ..DatasetSource::default() };
    assert_eq!(ratings(clicks, last).unwrap().found.duplicates(), DuplicateRule::Last);
    // A column of numbers may be the rating under another name.
    let unclear = "user,item,opinion\n0,0,3\n0,1,4\n1,1,4\n";
    let error = refusal(unclear, DatasetSource::default());
    assert!(error.contains("'opinion'") && error.contains("--no-rating"), "{error}");
    let none = DatasetSource { no_rating: true, ..DatasetSource::default() };
    assert_eq!(ratings(unclear, none).unwrap().ratings[0].2, 1.0);
    let named = DatasetSource { rating_column: "opinion".into(), ..DatasetSource::default() };
    assert_eq!(ratings(unclear, named).unwrap().ratings[0].2, 3.0);
}

#[test]
fn a_first_row_that_is_data_is_no_header() {
    let beauty = "A1,0000079191,2.0,1369699200\nA1,0000316764,5.0,1369699203\n";
    let found = usual(beauty);
    assert_eq!(found.ratings[0], (text("A1"), text("0000079191"), 2.0, 1_369_699_200));
    assert!(!found.look(0).header);
    assert_eq!(found.columns(0), [("user", "", 1), ("item", "", 2), ("rating", "", 3), ("time", "", 4)]);
    // Newer files of the same source have the item first.
    let numbered =
        DatasetSource { user_column: "2".into(), item_column: "1".into(), ..DatasetSource::default() };
    let error = refusal(beauty, numbered.clone());
    assert!(error.contains("--rating-col") && error.contains('3'), "{error}");
    let numbered = DatasetSource { rating_column: "3".into(), time_column: "4".into(), ..numbered };
    assert_eq!(ratings(beauty, numbered).unwrap().ratings[0].0, text("0000079191"));
    let header = DatasetSource { header: HeaderChoice::Present.into(), ..DatasetSource::default() };
    assert!(refusal(beauty, header).contains("--user-col COLUMN"));
    // A header of usual names is one, whatever was said of similar files.
    let absent = DatasetSource { header: HeaderChoice::Absent.into(), ..DatasetSource::default() };
    assert!(refusal("user,item,rating\n1,2,3\n", absent).contains("NUMBER"));
}

#[test]
fn words_for_nothing_are_nobody() {
    let rows = "userId,movieId,rating,timestamp\nu1,1,3,1\nnan,1,3,1\nNULL,1,4,2\n\\N,1,1,3\nNone,2,2,NA\nu2,2,na,5\nu3,2,4,\n";
    let found = usual(rows);
    assert_eq!(found.ratings, [(text("u1"), integer(1), 3.0, 1), (text("u3"), integer(2), 4.0, 0)]);
    assert_eq!(found.rejected().iter().map(|(_, count)| count).collect::<Vec<_>>(), [&4, &1]);
    assert_eq!(found.reports[0].rows_without_time, 1);
    let none = DatasetSource { null_words: Some(NullWords::default()), ..DatasetSource::default() };
    assert_eq!(ratings(rows, none).unwrap().ratings[1].0, text("nan"));
}

#[test]
fn implausible_ratings_are_rejected_one_by_one() {
    let found = usual("user,item,rating\n1,1,5\n1,2,1e30\n1,3,inf\n1,4,-1e9\n");
    assert_eq!(found.ratings.iter().map(|rating| rating.2).collect::<Vec<_>>(), [5.0, -1e9]);
    assert_eq!(found.rejected().iter().map(|(_, count)| count).sum::<u64>(), 2);
}

#[test]
fn a_catalogue_has_its_year_and_genres_wherever_they_stand() {
    let likes = ("ratings.csv", "userId,movieId,rating\n1,1,4\n");
    let movies = "movieId,title,year,genres\n1,Film 1,1981,\"Action, Drama\"\n2,Film 2 (1982),NULL,Comedy\n";
    let found = read("", &[likes, ("movies.csv", movies)], DatasetSource::default()).unwrap();
    let movie = |item, title: &str, year, genres: &str| {
        (integer(item), title.to_owned(), Some(year), genres.to_owned())
    };
    let expected = [movie(1, "Film 1", 1981, "Action|Drama"), movie(2, "Film 2 (1982)", 1982, "Comedy")];
    assert_eq!(found.movies, expected);
    assert!(found.look(1).notes.iter().any(|note| note.contains("divided at ','")));
    let own = "movieId;was;seit;art\n1;Film 1;1981-02-03;Action|Drama, really\n2;Film 2 (1982);;Comedy\n";
    let named = DatasetSource {
        title_column: "was".into(),
        year_column: "seit".into(),
        genres_column: "art".into(),
        ..DatasetSource::default()
    };
    let found = read("", &[likes, ("movies.csv", own)], named).unwrap();
    assert_eq!(found.movies[0], movie(1, "Film 1", 1981, "Action|Drama, really"));
    assert_eq!(found.movies[1], expected[1]);
}

#[test]
fn what_lies_beside_a_named_file_is_read_when_asked_for() {
    let files = [("likes.csv", "user,item,rating\n1,1,4\n"), ("movies.csv", "movieId,title\n1,A\n")];
    let found = read("likes.csv", &files, DatasetSource::default()).unwrap();
    assert_eq!(
        (found.movies.len(), &found.found.look.as_ref().unwrap().not_read[..]),
        (0, &["movies.csv".to_owned()][..])
    );
    let asked = DatasetSource { with_neighbours: true, ..DatasetSource::default() };
    let found = read("likes.csv", &files, asked).unwrap();
    assert_eq!((found.movies.len(), found.found.look.as_ref().unwrap().not_read.len()), (1, 0));
}

#[test]
fn headers_may_be_quoted_over_lines_and_come_after_a_mark() {
    let found = usual("\u{feff}\"user\",\"it\r\nem\",\"item\",\"rating\"\r\n1,x,2,3\r\n");
    assert_eq!(found.ratings, [(integer(1), integer(2), 3.0, 0)]);
    assert_eq!(found.found.files[0].header_lines, 2);
}
