//! Sources as they are stored: encodings, archives, line ends, parts, patterns. Whatever the form, the rows are the same.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use shoal_common::store::{Access, StoreOptions};
use shoal_dataset::source::inspect;
use shoal_proto::v1::DatasetSource;

use crate::support::reading::{Failure, ReadRow, read, source};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Encoding {
    Utf8,
    Utf8Marked,
    Utf16Le,
    Utf16Be,
    Windows1252,
    Windows1252Named,
}

impl Encoding {
    fn encode(self, text: &str) -> Vec<u8> {
        let units = || text.encode_utf16();
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Utf8Marked => [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            Self::Utf16Le => [0xff, 0xfe].into_iter().chain(units().flat_map(u16::to_le_bytes)).collect(),
            Self::Utf16Be => [0xfe, 0xff].into_iter().chain(units().flat_map(u16::to_be_bytes)).collect(),
            Self::Windows1252 | Self::Windows1252Named => {
                encoding_rs::WINDOWS_1252.encode(text).0.into_owned()
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Packing {
    Plain,
    Gzip,
    GzipMembers,
    Zstd,
    ZstdFrames,
}

impl Packing {
    /// Packs, in two members or frames that are divided at `cut` where there are several.
    fn pack(self, bytes: &[u8], cut: usize) -> Vec<u8> {
        let (first, second) = bytes.split_at(cut);
        match self {
            Self::Plain => bytes.to_vec(),
            Self::Gzip => gzip(bytes),
            Self::GzipMembers => [gzip(first), gzip(second)].concat(),
            Self::Zstd => zstd(bytes),
            Self::ZstdFrames => [zstd(first), zstd(second)].concat(),
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip | Self::GzipMembers => ".gz",
            Self::Zstd | Self::ZstdFrames => ".zst",
        }
    }
}

/// How the parts of a source are named to it.
#[derive(Debug, Clone, Copy)]
enum Naming {
    /// Above a folder called as the layout's file is.
    Layout,
    /// As a folder that holds nothing but parts.
    Folder,
    Pattern,
    Paths,
}

type Rating = (String, i64, u8, u32);

/// The rows as they come out of the source.
fn expected(ratings: &[Rating]) -> Vec<ReadRow> {
    let row = |(user, item, rating, time): &Rating| ReadRow {
        user: user.clone(),
        item: item.to_string(),
        rating: f32::from(*rating) / 2.0,
        timestamp: i64::from(*time),
    };
    ratings.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_same_table_is_read_in_whatever_form_it_is_stored(
        // Letters that are one byte in Windows-1252, each before a letter of ASCII, so that none is UTF-8 by chance.
        ratings in prop::collection::vec(("[a-z]([éüßÅ€][a-z]){1,2}", 0_i64..10_000, 0_u8..11, 1_u32..2_000_000_000), 1..40),
        encoding in prop::sample::select(vec![
            Encoding::Utf8, Encoding::Utf8Marked, Encoding::Utf16Le, Encoding::Utf16Be,
            Encoding::Windows1252, Encoding::Windows1252Named,
        ]),
        packing in prop::sample::select(vec![
            Packing::Plain, Packing::Gzip, Packing::GzipMembers, Packing::Zstd, Packing::ZstdFrames,
        ]),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        last_line_ends: bool,
        parts in 1_usize..4,
        naming in prop::sample::select(vec![Naming::Layout, Naming::Folder, Naming::Pattern, Naming::Paths]),
        cut: prop::sample::Index,
        range_bytes in 20_u64..400,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("ratings.csv");
        std::fs::create_dir(&inside).unwrap();
        let mut paths = Vec::new();
        for (number, part) in ratings.chunks(ratings.len().div_ceil(parts)).enumerate() {
            let mut lines = vec!["userId,movieId,rating,timestamp".to_owned()];
            lines.extend(part.iter().map(|(user, item, rating, time)| {
                format!("{user},{item},{},{time}", f32::from(*rating) / 2.0)
            }));
            let mut text = lines.join(line_end);
            if last_line_ends {
                text.push_str(line_end);
            }
            let bytes = encoding.encode(&text);
            let packed = packing.pack(&bytes, cut.index(bytes.len() + 1));
            let path = inside.join(format!("part-0000{number}-abc.csv{}", packing.ending()));
            std::fs::write(&path, packed).unwrap();
            paths.push(path.to_str().unwrap().to_owned());
        }
        for marker in ["_SUCCESS", ".part-00000.crc"] {
            std::fs::write(inside.join(marker), "").unwrap();
        }
        std::fs::write(inside.join(format!("part-99999-abc.csv{}", packing.ending())), "").unwrap();
        let mut source = match naming {
            Naming::Layout => source(folder.path()),
            Naming::Folder => source(&inside),
            Naming::Pattern => source(&folder.path().join("rat*/part-*.csv*")),
            Naming::Paths => DatasetSource { uri: paths.remove(0), more_uris: paths, ..DatasetSource::default() },
        };
        if encoding == Encoding::Windows1252Named {
            source.encoding = "windows-1252".to_owned();
        }
        let found = read(&source, range_bytes).unwrap();
        prop_assert_eq!(&found.rows, &expected(&ratings));
        prop_assert_eq!(found.sum(|report| report.rows_read), ratings.len() as u64);
        // What was not UTF-8 is counted.
        let guessed = if encoding == Encoding::Windows1252 { ratings.len() as u64 } else { 0 };
        prop_assert_eq!(found.sum(|report| report.rows_not_utf8), guessed);
        prop_assert_eq!(found.sum(|report| report.characters_replaced), 0);
    }

    #[test]
    fn an_archive_that_is_cut_or_damaged_is_never_read_as_a_shorter_one(
        rows in 1_u32..3_000,
        is_gzip: bool,
        several: bool,
        place: prop::sample::Index,
        flip in prop::option::of(0_u8..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let body: String = (0..rows).map(|row| format!("{row},{},{},{row}\n", row % 50, row % 5 + 1)).collect();
        let text = format!("userId,movieId,rating,timestamp\n{body}");
        let pack = |text: &str| if is_gzip { gzip(text.as_bytes()) } else {
            // With a checksum, as `zstd` writes.
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let whole = pack(&text);
        let at = place.index(whole.len());
        let mut damaged = match flip {
            Some(bit) => {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                bytes
            }
            // An archive of one byte is none.
            None => whole[..at.max(4)].to_vec(),
        };
        if several {
            damaged = [pack("userId,movieId,rating,timestamp\n1,2,3,4\n"), damaged].concat();
        }
        let path = folder.path().join("r.csv.packed");
        std::fs::write(&path, &damaged).unwrap();
        match read(&source(&path), 100) {
            Err(Failure::Source(_)) => {}
            Err(failure) => prop_assert!(false, "{failure}"),
            // Bits of gzip's header say when and by whom a file was packed, and damage nothing.
            Ok(found) => {
                let first = u64::from(several);
                // The header of the second member is a row that is rejected.
                prop_assert!(flip.is_some(), "a cut archive was read");
                prop_assert_eq!(found.sum(|report| report.rows_accepted), u64::from(rows) + first);
            }
        }
    }
}

#[test]
fn parts_need_the_same_columns_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("2024-01.csv", "userId,movieId,rating\n1,2,3\n");
    write("2024-02.csv", "rating,userId,movieId\n4,5,6\n");
    write("2024-03.csv", "");
    let found = read(&source(&folder.path().join("2024-*.csv")), 100).unwrap();
    assert_eq!(found.rows.len(), 2);
    let second = ReadRow { user: "5".into(), item: "6".into(), rating: 4.0, timestamp: 0 };
    assert_eq!(found.rows[1], second);
    write("2024-04.csv", "userId,movieId,stars\n1,2,3\n");
    let error = read(&source(folder.path()), 100).unwrap_err().to_string();
    for part in ["2024-01.csv'", "2024-04.csv'", "userId, movieId, rating", "userId, movieId, stars"] {
        assert!(error.contains(part), "'{part}' is not in: {error}");
    }
    // Files of several kinds are no parts.
    write("2024-04.csv", "userId,movieId,rating\n1,2,3\n");
    write("readme.txt", "x");
    let error = read(&source(folder.path()), 100).unwrap_err().to_string();
    assert!(error.contains("ratings.csv") && error.contains("readme.txt"), "{error}");
}

#[test]
fn packed_files_of_a_layout_are_found_and_other_packers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = "userId,movieId,rating,timestamp\n1,2,3.5,4\n";
    std::fs::write(folder.path().join("ratings.csv.gz"), gzip(text.as_bytes())).unwrap();
    std::fs::write(folder.path().join("movies.csv.zst"), zstd(b"movieId,title,genres\n2,a,b\n")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let found = runtime
        .block_on(inspect(&source(folder.path()), &Access::anywhere(StoreOptions::default())))
        .unwrap();
    let names: Vec<&str> = found.files.iter().map(|file| file.uri.as_str()).collect();
    assert_eq!(names, ["ratings.csv.gz", "movies.csv.zst"]);
    // MovieLens 1M and 100K keep their format in an archive.
    std::fs::write(folder.path().join("ratings.dat.gz"), gzip(b"1::2::3::4\n5::6::1::8\n")).unwrap();
    assert_eq!(read(&source(&folder.path().join("ratings.dat.gz")), 100).unwrap().rows.len(), 2);
    for (bytes, packer) in [(&b"PK\x03\x04rest"[..], "zip"), (b"BZh91AY", "bzip2"), (b"\xfd7zXZ\0\0", "xz")] {
        std::fs::write(folder.path().join("r.csv"), bytes).unwrap();
        let error = read(&source(&folder.path().join("r.csv")), 100).unwrap_err().to_string();
        assert!(error.contains(packer) && error.contains("gzip or zstd"), "{error}");
    }
    std::fs::write(folder.path().join("r.csv"), "u\0s\0e\0r\0").unwrap();
    let error = read(&source(&folder.path().join("r.csv")), 100).unwrap_err().to_string();
    assert!(error.contains("--encoding utf-16le"), "{error}");
    let named = DatasetSource { encoding: "utf-61".to_owned(), ..source(&folder.path().join("r.csv")) };
    let error = read(&named, 100).unwrap_err().to_string();
    assert!(error.contains("no encoding 'utf-61'"), "{error}");
}

#[test]
fn characters_that_an_encoding_does_not_have_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.csv");
    let mut bytes = Encoding::Utf16Le.encode("userId,movieId,rating\nann,2,3\nb");
    // Half of a pair.
    bytes.extend([0x00, 0xd8]);
    bytes.extend("b,4,5\n".encode_utf16().flat_map(u16::to_le_bytes));
    std::fs::write(&path, bytes).unwrap();
    let found = read(&source(&path), 100).unwrap();
    assert_eq!((found.rows.len(), found.sum(|report| report.characters_replaced)), (2, 1));
    assert_eq!(found.rows[1].user, "b\u{fffd}b");
}

#[test]
fn the_splits_of_movielens_100k_are_read_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["u1.base", "u1.test", "ua.base", "ub.test"] {
        let path = folder.path().join(name);
        std::fs::write(&path, "37\t17\t3\t880037017\n37\t25\t4\t880037025\n").unwrap();
        let found = read(&source(&path), 10).unwrap();
        assert_eq!(found.rows.len(), 2, "{name}");
        let second = ReadRow { user: "37".into(), item: "25".into(), rating: 4.0, timestamp: 880_037_025 };
        assert_eq!(found.rows[1], second);
    }
}
