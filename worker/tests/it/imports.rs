//! Imports over workers: every layout that people have, every way in which rows can be bad, and the
//! same data set however the files are cut and whoever reads them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use shoal_proto::v1::{DuplicateRule, IdKind, Side};

use crate::support::{
    Workers,
    import::{Imported, Stored, Titled, source, with_columns},
};

const SHARDS: u32 = 3;

/// Writes the files and returns their folder.
fn files(workers: &Workers, files: &[(&str, &[u8])]) -> PathBuf {
    let folder = workers.folder.path().join("source");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    folder
}

fn stored(user: &str, item: &str, rating: f32, time: i64) -> Stored {
    (user.into(), item.into(), rating, time)
}

fn titled(item: &str, title: &str, year: Option<i32>, genres: &str) -> Titled {
    (item.into(), title.into(), year, genres.into())
}

/// Both sides hold the same ratings.
async fn ratings(workers: &Workers, imported: &Imported) -> Vec<Stored> {
    let by_user = workers.stored(&imported.info, Side::Users).await;
    assert_eq!(by_user, workers.stored(&imported.info, Side::Items).await);
    assert_eq!(by_user.len() as u64, imported.info.ratings);
    by_user
}

fn reasons(imported: &Imported) -> Vec<(u64, &str)> {
    imported.rejected.iter().map(|(_, line, reason)| (*line, reason.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn movielens_as_kaggle_has_it() {
    let workers = Workers::start(2, 1).await;
    let folder = files(
        &workers,
        &[
            (
                "rating.csv",
                b"\"userId\",\"movieId\",\"rating\",\"timestamp\"\n\
                  1,2,3.5,\"2005-04-02 23:53:47\"\n1,29,3.5,2005-04-02 23:31:16\n2,2,4,1997-01-01 00:00:00\n",
            ),
            (
                "movie.csv",
                b"\"movieId\",\"title\",\"genres\"\n\
                  2,\"Jumanji (1995)\",\"Adventure|Children|Fantasy\"\n\
                  29,\"City of Lost Children, The (Cit\xc3\xa9 des enfants perdus, La) (1995)\",\"Adventure\"\n\
                  7,\"The \"\"Great\"\" One (2001-2003)\",\"(no genres listed)\"\n",
            ),
            (
                "tag.csv",
                b"\"userId\",\"movieId\",\"tag\",\"timestamp\"\n\
                  18,29,\"dark, \"\"hero\"\"\",\"2009-04-24 18:19:40\"\n9,7,Quirky,2010-01-01 00:00:00\n9,5555,gone,2010-01-01 00:00:00\n",
            ),
            ("genome_scores.csv", b"movieId,tagId,relevance\n2,1,0.025\n2,3,0.5\n29,3,1\n4444,1,0.75\n"),
            ("genome_tags.csv", b"\"tagId\",\"tag\"\n1,\"007\"\n3,\"18th century\"\n"),
        ],
    );
    let imported = workers.import(&source(&folder), SHARDS, 40).await.unwrap();
    assert_eq!(
        ratings(&workers, &imported).await,
        [
            stored("1", "2", 3.5, 1_112_486_027),
            stored("1", "29", 3.5, 1_112_484_676),
            stored("2", "2", 4.0, 852_076_800),
        ]
    );
    let expected = [
        titled("2", "Jumanji (1995)", Some(1995), "Adventure|Children|Fantasy"),
        titled(
            "29",
            "City of Lost Children, The (Cité des enfants perdus, La) (1995)",
            Some(1995),
            "Adventure",
        ),
        titled("7", "The \"Great\" One (2001-2003)", Some(2001), ""),
    ];
    let expected: BTreeMap<String, Titled> = expected.into_iter().map(|row| (row.0.clone(), row)).collect();
    assert_eq!(workers.catalogue(&imported.info).await, expected);
    let info = &imported.info;
    assert_eq!((info.users, info.items, info.ratings, info.catalogue_items), (2, 3, 3, 3));
    let ids: BTreeSet<String> = workers.ids(info, Side::Items).await.into_iter().collect();
    assert_eq!(ids, ["2", "29", "7"].map(str::to_owned).into());
    // What is said of items that are neither rated nor in the catalogue is left out.
    assert_eq!((info.tags, info.genome_items), (2, 2));
    assert_eq!(
        workers.tags(info).await,
        [
            ("29".to_owned(), "18".to_owned(), "dark, \"hero\"".to_owned(), 1_240_597_180),
            ("7".to_owned(), "9".to_owned(), "Quirky".to_owned(), 1_262_304_000),
        ]
    );
    let (genome, names) = workers.genome(info).await;
    assert_eq!(genome[&("2".to_owned(), 1)], 0.025);
    assert_eq!(genome[&("29".to_owned(), 3)], 1.0);
    let scores: f32 = genome.values().sum();
    assert_eq!((scores, names), (1.525, vec![(1, "007".to_owned()), (3, "18th century".to_owned())]));
    // Only the data set is left: no staging, no spools.
    assert!(workers.objects().await.keys().all(|path| path.starts_with("datasets/test/")));
    for worker in 0..2 {
        let left = std::fs::read_dir(workers.jobs_folder(worker)).map_or(0, Iterator::count);
        assert_eq!(left, 0, "worker {worker} kept files");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_timestamp_wins_then_the_last_row() {
    let workers = Workers::start(2, 2).await;
    let rows = b"userId,movieId,rating,timestamp\n\
        1,1,1,50\n2,1,1,10\n1,1,2,70\n2,1,2,10\n1,1,3,60\n2,1,3,10\n3,3,4,0\n3,3,4,0\n";
    for range_bytes in [7, 20, 1_000] {
        let folder = files(&workers, &[("ratings.csv", rows)]);
        let imported = workers.import(&source(&folder), SHARDS, range_bytes).await.unwrap();
        assert_eq!(
            ratings(&workers, &imported).await,
            [stored("1", "1", 2.0, 70), stored("2", "1", 3.0, 10), stored("3", "3", 4.0, 0)]
        );
        let report = imported.info.report.unwrap();
        assert_eq!((report.rows_read, report.rows_accepted, report.duplicates), (8, 8, 5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clicks_are_counted_and_amounts_added_up() {
    let workers = Workers::start(2, 2).await;
    let clicks = b"user,item,time\n1,1,50\n2,1,10\n1,1,70\n1,1,60\n";
    let amounts = b"user,item,rating\n1,1,0.5\n2,1,4\n1,1,2\n";
    for range_bytes in [7, 1_000] {
        let folder = files(&workers, &[("ratings.csv", clicks)]);
        let imported = workers.import(&source(&folder), SHARDS, range_bytes).await.unwrap();
        let counted = [stored("1", "1", 3.0, 70), stored("2", "1", 1.0, 10)];
        assert_eq!(ratings(&workers, &imported).await, counted);
        assert_eq!(imported.info.report.unwrap().duplicates, 2);
        let folder = files(&workers, &[("ratings.csv", amounts)]);
        let mut added = source(&folder);
        added.set_duplicates(DuplicateRule::Sum);
        let imported = workers.import(&added, SHARDS, range_bytes).await.unwrap();
        let sums = [stored("1", "1", 2.5, 0), stored("2", "1", 4.0, 0)];
        assert_eq!(ratings(&workers, &imported).await, sums);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_row_is_named_by_file_line_and_reason() {
    let workers = Workers::start(3, 1).await;
    // Enough good rows for the others to be exceptions.
    let good: String = (0..200).map(|user| format!("{},7,4,9\r\n", 1_000 + user)).collect();
    let rows = b"1,1,3.5,10\r\n\
        x,1,3.5,10\r\n\
        1,,3.5,10\r\n\
        1,1,NaN,10\r\n\
        \r\n\
        1,1,inf,10\r\n\
        1,1,9,10\r\n\
        1,1,good,10\r\n\
        1,1,3.5,yesterday\r\n\
        1,1\r\n\
        2,1,4.5,11";
    let rows = [b"userId,movieId,rating,timestamp\r\n", good.as_bytes(), rows].concat();
    let folder = files(&workers, &[("ratings.csv", &rows)]);
    let mut source = source(&folder);
    (source.rating_min, source.rating_max) = (0.5, 5.0);
    for range_bytes in [11, 31, 500] {
        let imported = workers.import(&source, SHARDS, range_bytes).await.unwrap();
        let numbered: Vec<(u64, &str)> =
            reasons(&imported).into_iter().map(|(line, reason)| (line - 200, reason)).collect();
        assert_eq!(
            numbered,
            [
                (
                    3,
                    "the user id is not a whole number as the file's first ids are (--user-ids text takes any)"
                ),
                (4, "the item id is empty"),
                (5, "the rating is missing"),
                (7, "the rating is out of range"),
                (8, "the rating is out of range"),
                (9, "the rating is not a number"),
                (
                    10,
                    "the time is neither a number nor a date that begins with its year (--time-format reads others, --no-time reads none)"
                ),
                (11, "too few columns"),
            ],
            "ranges of {range_bytes} bytes"
        );
        assert!(imported.rejected.iter().all(|(file, ..)| file == "ratings.csv"));
        let report = imported.info.report.as_ref().unwrap();
        assert_eq!((report.rows_read, report.rows_accepted), (210, 202));
        let kept = ratings(&workers, &imported).await;
        assert_eq!(kept.len(), 202);
        assert!(kept.contains(&stored("1", "1", 3.5, 10)) && kept.contains(&stored("2", "1", 4.5, 11)));
    }
}

/// What the same rows make when they are read in one piece by one worker.
async fn in_one_piece(folder: &Path) -> BTreeMap<String, bytes::Bytes> {
    let alone = Workers::start(1, 1).await;
    alone.import(&source(folder), SHARDS, u64::MAX / 2).await.unwrap();
    alone.objects().await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_files_are_cut_the_same_objects_come_out(
        rows in prop::collection::vec((1_i64..40, 1_i64..30, 1_u8..11, 0_i64..4), 1..60),
        titles in prop::collection::vec("[a-zé,\" ]{0,12}", 0..20),
        crlf: bool,
        bom: bool,
        last_newline: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let text = |header: &str, lines: Vec<String>| {
            let mut text = if bom { String::from("\u{feff}") } else { String::new() };
            text.push_str(header);
            for line in lines {
                text.push_str(end);
                text.push_str(&line);
            }
            if last_newline {
                text.push_str(end);
            }
            text.into_bytes()
        };
        let ratings = text(
            "userId,movieId,rating,timestamp",
            rows.iter().map(|(user, item, half, time)| format!("{user},{item},{},{time}", f32::from(*half) / 2.0)).collect(),
        );
        let quoted = |title: &String| format!("\"{}\"", title.replace('"', "\"\""));
        let movies = text(
            "movieId,title,genres",
            titles.iter().enumerate().map(|(at, title)| format!("{},{},A|B", at + 20, quoted(title))).collect(),
        );
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let workers = Workers::start(3, 2).await;
            let folder = files(&workers, &[("ratings.csv", &ratings), ("movies.csv", &movies)]);
            let imported = workers
                .import_cut(&source(&folder), SHARDS, |file| {
                    let mut bounds: Vec<u64> =
                        cuts.iter().map(|cut| cut.index(file.length_bytes as usize + 1) as u64).collect();
                    bounds.extend([0, file.length_bytes]);
                    bounds.sort_unstable();
                    bounds.windows(2).map(|pair| pair[0]..pair[1]).collect()
                })
                .await
                .unwrap();
            assert!(imported.rejected.is_empty(), "{:?}", imported.rejected);
            assert_eq!(imported.info.report.as_ref().unwrap().rows_read, (rows.len() + titles.len()) as u64);
            assert!(workers.objects().await == in_one_piece(&folder).await);
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_million_and_hundred_thousand_have_layouts_of_their_own() {
    let workers = Workers::start(2, 1).await;
    let million: &[(&str, &[u8])] = &[
        ("ratings.dat", b"1::1193::5::978300760\n1::661::3::978302109\n"),
        ("movies.dat", b"1193::One Flew (1975)::Drama\n73::Mis\xe9rables, Les (1995)::Drama|Musical\n"),
    ];
    let hundred: &[(&str, &[u8])] = &[
        ("u.data", b"1\t1193\t5\t978300760\n1\t661\t3\t978302109\n"),
        (
            "u.item",
            b"1193|One Flew (1975)|01-Jan-1975||http://x|0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n\
              73|Mis\xe9rables, Les (1995)|01-Jan-1995||http://x|0|0|0|0|0|0|0|0|1|0|0|0|1|0|0|0|0|0|0\n",
        ),
    ];
    for layout in [million, hundred] {
        for bom in [&b""[..], b"\xef\xbb\xbf"] {
            let layout: Vec<(&str, Vec<u8>)> =
                layout.iter().map(|(name, bytes)| (*name, [bom, bytes].concat())).collect();
            let layout: Vec<(&str, &[u8])> = layout.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
            let folder = files(&workers, &layout);
            let imported = workers.import(&source(&folder), SHARDS, 30).await.unwrap();
            assert_eq!(
                ratings(&workers, &imported).await,
                [stored("1", "1193", 5.0, 978_300_760), stored("1", "661", 3.0, 978_302_109)]
            );
            let titles = workers.catalogue(&imported.info).await;
            assert_eq!(titles["1193"], titled("1193", "One Flew (1975)", Some(1975), "Drama"));
            assert_eq!(titles["73"], titled("73", "Misérables, Les (1995)", Some(1995), "Drama|Musical"));
            assert_eq!((imported.info.items, imported.rejected.len()), (3, 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_csv_is_read_when_its_columns_are_named() {
    let workers = Workers::start(2, 1).await;
    for (delimiter, time) in [(',', "when"), (';', "when"), ('\t', ""), ('|', "")] {
        let text = "note,stars,sku,customer,when\n\
            \"a, \"\"b\"\"\",4.25,tt-1,ann,2004-01-26T03:58:10Z\n\
            ,-1.5,tt-2,\"Bob, the 2nd\",1075089490.7\n\
            ,0,  tt-1 ,\"Bob, the 2nd\",2004-01-26\n"
            .replace("Bob, the", &format!("Bob{delimiter} the"))
            .replace("a, ", &format!("a{delimiter} "));
        // The delimiters between fields, and not those inside quotes that were put there above.
        let text: String = if delimiter == ',' {
            text
        } else {
            let mut quoted = false;
            text.chars()
                .map(|c| {
                    quoted ^= c == '"';
                    if c == ',' && !quoted { delimiter } else { c }
                })
                .collect()
        };
        let folder = files(&workers, &[("likes.txt", text.as_bytes())]);
        let source = with_columns(&folder.join("likes.txt"), ["customer", "sku", "stars", time]);
        let imported = workers.import(&source, SHARDS, 25).await.unwrap();
        let bob = format!("Bob{delimiter} the 2nd");
        // Without a named column of times, one is looked for by its usual names; "when" is none.
        let [first, second, third] =
            if time.is_empty() { [0; 3] } else { [1_075_089_490, 1_075_089_490, 1_075_075_200] };
        assert_eq!(
            ratings(&workers, &imported).await,
            [
                stored(&bob, "tt-1", 0.0, third),
                stored(&bob, "tt-2", -1.5, second),
                stored("ann", "tt-1", 4.25, first)
            ],
            "{delimiter:?}"
        );
        let info = &imported.info;
        assert_eq!((info.user_id_kind(), info.item_id_kind()), (IdKind::Text, IdKind::Text));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_and_foreign_files_are_refused_with_what_to_do() {
    let workers = Workers::start(1, 1).await;
    for (name, bytes, expected) in [
        ("ratings.csv", &b""[..], "is empty"),
        ("ratings.csv", b"a,b,c\n1,2,3\n", "--user-col COLUMN --item-col COLUMN"),
        ("notes.txt", b"hello", "no ratings were found"),
    ] {
        let folder = files(&workers, &[(name, bytes)]);
        let refused = workers.import(&source(&folder), SHARDS, 10).await.unwrap_err();
        assert!(refused.message().contains(expected), "{}", refused.message());
    }
    let nowhere = workers.folder.path().join("nowhere");
    assert!(workers.inspect(&source(&nowhere)).await.is_err());
    assert!(workers.objects().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn titles_may_go_on_over_lines_and_stray_quotes_lose_one_line() {
    let workers = Workers::start(2, 1).await;
    let movies = b"movieId,title,genres\r\n\
        1,\"Two\r\nlines, \"\"three\"\"\r\n\r\nand a half (1999)\",Drama\r\n\
        2,\"Never closed (2000),Comedy\r\n\
        3,\"5\"\" disk\",Drama\r\n\
        4,Half an inch\" (2001),Drama\r\n";
    let folder = files(
        &workers,
        &[("ratings.csv", b"userId,movieId,rating,timestamp\n1,1,3,4\n"), ("movies.csv", movies)],
    );
    let imported = workers.import(&source(&folder), SHARDS, 1_000).await.unwrap();
    assert_eq!(imported.rejected, [("movies.csv".to_owned(), 6, "a quoted field is not closed".to_owned())]);
    let titles = workers.catalogue(&imported.info).await;
    assert_eq!(
        titles["1"],
        titled("1", "Two\r\nlines, \"three\"\r\n\r\nand a half (1999)", Some(1999), "Drama")
    );
    assert_eq!(titles["3"].1, "5\" disk");
    assert_eq!(titles["4"].1, "Half an inch\" (2001)");
    assert_eq!(titles.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_without_end_and_files_that_are_no_text_do_not_fill_the_memory() {
    let workers = Workers::start(1, 1).await;
    let mut rows = b"userId,movieId,rating,timestamp\n1,1,3,4\n".to_vec();
    rows.resize(rows.len() + 5_000_000, b'7');
    rows.extend_from_slice(b"\n2,2,3,4\n");
    let folder = files(&workers, &[("ratings.csv", &rows)]);
    let imported = workers.import(&source(&folder), SHARDS, 1_000_000).await.unwrap();
    assert_eq!(reasons(&imported), [(3, "the line is longer than 1 MiB")]);
    assert_eq!(ratings(&workers, &imported).await, [stored("1", "1", 3.0, 4), stored("2", "2", 3.0, 4)]);
    for (name, bytes, reason) in [
        ("ratings.csv", &b"u\0s\0e\0r\0"[..], "not in a format"),
        ("ratings.csv.gz", b"\x1f\x8b", "cannot unpack"),
    ] {
        let path = files(&workers, &[(name, bytes)]).join(name);
        let refused = workers.inspect(&source(&path)).await.unwrap_err();
        assert!(refused.message().contains(reason), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_found_whatever_it_is_called_and_whatever_lies_around_it() {
    let workers = Workers::start(1, 1).await;
    let rows = b"userId,movieId,rating\n1,1,3\n";
    for name in ["my ratings #1 (copy) 50%.csv", "\u{e9}toiles.csv", "noextension", "ratings.csv"] {
        let folder = files(&workers, &[(name, rows), ("other.txt", b"x")]);
        std::fs::create_dir_all(folder.join("deep/er")).unwrap();
        std::fs::write(folder.join("deep/er/ratings.csv"), b"nothing of this").unwrap();
        let imported = workers.import(&source(&folder.join(name)), SHARDS, 10).await.unwrap();
        assert_eq!(ratings(&workers, &imported).await, [stored("1", "1", 3.0, 0)], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_what_was_said_whatever_they_look_like() {
    let workers = Workers::start(1, 1).await;
    let folder = files(&workers, &[("ratings.csv", b"userId,movieId,rating\n007,1,3\n7,1,4\n")]);
    let mut as_numbers = source(&folder);
    as_numbers.set_user_id_kind(IdKind::Integer);
    let by_number = workers.import(&as_numbers, SHARDS, 100).await.unwrap();
    assert_eq!(ratings(&workers, &by_number).await, [stored("7", "1", 4.0, 0)]);
    // Two ids are not made one unless somebody says so.
    let by_text = workers.import(&source(&folder), SHARDS, 100).await.unwrap();
    assert_eq!(ratings(&workers, &by_text).await, [stored("007", "1", 3.0, 0), stored("7", "1", 4.0, 0)]);
    assert_eq!(by_text.info.item_id_kind(), IdKind::Integer);
}

/// The folders of real files, when the environment names them.
fn real_data() -> Option<PathBuf> {
    std::env::var_os("SHOAL_REAL_DATA").map(|folder| {
        // Cargo runs tests in the crate's folder; the variable is relative to the workspace's.
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_folders_have_the_counts_that_they_are_known_for() {
    let Some(folder) = real_data() else { return };
    let workers = Workers::start(3, 1).await;
    let imported = workers.import(&source(&folder.join("ml-latest-small")), 16, 700_000).await.unwrap();
    let info = &imported.info;
    assert_eq!((info.ratings, info.users, info.items, info.catalogue_items), (100_836, 610, 9_742, 9_742));
    assert_eq!((info.tags, info.genome_items), (3_683, 158));
    let (genome, names) = workers.genome(info).await;
    assert_eq!((genome.len(), names.len()), (158 * 1_128, 1_128));
    assert!(imported.rejected.is_empty(), "{:?}", imported.rejected);
    let rated: BTreeSet<String> =
        ratings(&workers, &imported).await.into_iter().map(|(_, item, ..)| item).collect();
    assert_eq!(rated.len(), 9_724);

    let imported = workers.import(&source(&folder.join("ml-20m-kaggle-sample")), 16, 99_999).await.unwrap();
    let info = &imported.info;
    assert_eq!((info.ratings, info.items, info.catalogue_items), (10_000, 27_278, 27_278));
    assert!(imported.rejected.is_empty(), "{:?}", imported.rejected);
    assert_eq!(workers.catalogue(info).await["1"].1, "Toy Story (1995)");
    assert_eq!((info.tags, info.genome_items), (0, 146));
}
