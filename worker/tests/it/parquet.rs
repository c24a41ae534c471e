//! Imports of Parquet files: columns of any type, in any number of row groups.

use std::{fs::File, path::Path, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{
        ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
        Int32Type, Int64Type, Int96, Int96Type,
    },
    file::{
        metadata::ParquetMetaDataWriter,
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};
use shoal_proto::v1::{DatasetSource, IdKind, Side};

use crate::support::{
    Workers,
    import::{Stored, source, with_columns},
};

const SHARDS: u32 = 3;

/// Writes one column of a row group: its values, and which rows have one.
type Column<'a> = &'a dyn Fn(&mut SerializedColumnWriter<'_>, usize);

/// Writes a file of `groups` row groups.
fn write(path: &Path, schema: &str, compression: Compression, groups: usize, columns: &[Column<'_>]) {
    let properties = WriterProperties::builder().set_compression(compression);
    write_with(path, schema, properties.build(), groups, columns);
}

fn write_with(
    path: &Path,
    schema: &str,
    properties: WriterProperties,
    groups: usize,
    columns: &[Column<'_>],
) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    for number in 0..groups {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut next = group.next_column().unwrap().unwrap();
            column(&mut next, number);
            next.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

fn put<T: DataType>(column: &mut SerializedColumnWriter<'_>, values: &[T::T], present: Option<&[i16]>) {
    column.typed::<T>().write_batch(values, present, None).unwrap();
}

fn text(value: &str) -> ByteArray {
    value.as_bytes().to_vec().into()
}

async fn ratings(workers: &Workers, path: &Path) -> (Vec<Stored>, Vec<(u64, String)>, (IdKind, IdKind)) {
    let columns = with_columns(path, ["who", "what", "much", "when"]);
    let mut all = Vec::new();
    for range_bytes in [10, 500, 1_000_000] {
        let imported = workers.import(&columns, SHARDS, range_bytes).await.unwrap();
        let info = &imported.info;
        let by_user = workers.stored(info, Side::Users).await;
        assert_eq!(by_user, workers.stored(info, Side::Items).await);
        let rejected = imported.rejected.into_iter().map(|(_, row, reason)| (row, reason)).collect();
        all.push((by_user, rejected, (info.user_id_kind(), info.item_id_kind())));
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    all.remove(0)
}

fn stored(user: &str, item: &str, rating: f32, time: i64) -> Stored {
    (user.into(), item.into(), rating, time)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_of_every_width_in_many_row_groups() {
    let workers = Workers::start(3, 1).await;
    let path = workers.folder.path().join("r.parquet");
    for (compression, much) in [
        (Compression::UNCOMPRESSED, "float"),
        (Compression::SNAPPY, "double"),
        (Compression::ZSTD(ZstdLevel::default()), "int32"),
        (Compression::GZIP(Default::default()), "int64"),
        (Compression::LZ4_RAW, "float"),
        (Compression::LZ4, "float"),
        (Compression::BROTLI(Default::default()), "double"),
    ] {
        let schema = format!(
            "message m {{ required {much} much; optional binary note (UTF8); required int32 who; required int64 what; required int64 when; }}"
        );
        let rating = |column: &mut SerializedColumnWriter<'_>, group: usize| {
            let value = (group % 5 + 1) as i32;
            match much {
                "float" => put::<FloatType>(column, &[value as f32; 2], None),
                "double" => put::<DoubleType>(column, &[f64::from(value); 2], None),
                "int32" => put::<Int32Type>(column, &[value; 2], None),
                _ => put::<Int64Type>(column, &[i64::from(value); 2], None),
            }
        };
        let columns: [Column<'_>; 5] = [
            &rating,
            &|column, _| put::<ByteArrayType>(column, &[text("x")], Some(&[0, 1])),
            &|column, group| put::<Int32Type>(column, &[group as i32, group as i32 + 100], None),
            &|column, group| put::<Int64Type>(column, &[7, 1_000_000_000_000 + group as i64], None),
            &|column, group| put::<Int64Type>(column, &[978_300_760 + group as i64; 2], None),
        ];
        write(&path, &schema, compression, 20, &columns);
        let (found, rejected, kinds) = ratings(&workers, &path).await;
        let mut expected = Vec::new();
        for group in 0..20_i64 {
            let (rating, time) = ((group % 5 + 1) as f32, 978_300_760 + group);
            expected.push(stored(&group.to_string(), "7", rating, time));
            let item = (1_000_000_000_000 + group).to_string();
            expected.push(stored(&(group + 100).to_string(), &item, rating, time));
        }
        expected.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        assert_eq!(found, expected, "{compression:?}");
        assert!(rejected.is_empty());
        assert_eq!(kinds, (IdKind::Integer, IdKind::Integer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_decimals_and_times_of_every_unit() {
    let workers = Workers::start(2, 1).await;
    let path = workers.folder.path().join("r.parquet");
    let seconds = 978_300_760_i64;
    // Nanoseconds of the day in two halves, and the Julian day.
    let (mut julian, nanos_of_day) = (Int96::new(), (seconds % 86_400) as u64 * 1_000_000_000);
    julian.set_data(nanos_of_day as u32, (nanos_of_day >> 32) as u32, 2_440_588 + (seconds / 86_400) as u32);
    let much = |column: &mut SerializedColumnWriter<'_>, _| put::<Int32Type>(column, &[425], None);
    let fixed = |column: &mut SerializedColumnWriter<'_>, _| {
        put::<FixedLenByteArrayType>(column, &[FixedLenByteArray::from(vec![0_u8, 0, 1, 0xa9])], None);
    };
    let negative = |column: &mut SerializedColumnWriter<'_>, _| {
        put::<ByteArrayType>(column, &[ByteArray::from(vec![0xfe_u8, 0x57])], None);
    };
    let millis =
        |column: &mut SerializedColumnWriter<'_>, _| put::<Int64Type>(column, &[seconds * 1_000 + 999], None);
    let micros =
        |column: &mut SerializedColumnWriter<'_>, _| put::<Int64Type>(column, &[seconds * 1_000_000], None);
    let nanos = |column: &mut SerializedColumnWriter<'_>, _| {
        put::<Int64Type>(column, &[seconds * 1_000_000_000], None)
    };
    let day = |column: &mut SerializedColumnWriter<'_>, _| put::<Int32Type>(column, &[11_322], None);
    let written = |column: &mut SerializedColumnWriter<'_>, _| {
        put::<ByteArrayType>(column, &[text("2000-12-31 22:12:40")], None);
    };
    let spark = |column: &mut SerializedColumnWriter<'_>, _| put::<Int96Type>(column, &[julian], None);
    let decimal: [(&str, Column<'_>, f32); 3] = [
        ("int32 much (DECIMAL(5,2))", &much, 4.25),
        ("fixed_len_byte_array(4) much (DECIMAL(5,2))", &fixed, 4.25),
        ("binary much (DECIMAL(5,2))", &negative, -4.25),
    ];
    let times: [(&str, Column<'_>, i64); 6] = [
        ("int64 when (TIMESTAMP(MILLIS,true))", &millis, seconds),
        ("int64 when (TIMESTAMP(MICROS,false))", &micros, seconds),
        ("int64 when (TIMESTAMP(NANOS,true))", &nanos, seconds),
        ("int32 when (DATE)", &day, 11_322 * 86_400),
        ("binary when (UTF8)", &written, seconds),
        ("int96 when", &spark, seconds),
    ];
    for (at, (when, write_time, time)) in times.into_iter().enumerate() {
        let (much, write_rating, rating) = decimal[at % decimal.len()];
        let schema = format!(
            "message m {{ required binary who (UTF8); required binary what (UTF8); required {much}; required {when}; }}"
        );
        let columns: [Column<'_>; 4] = [
            &|column, _| put::<ByteArrayType>(column, &[text("ann, \"the\" 1st")], None),
            &|column, _| put::<ByteArrayType>(column, &[text("42")], None),
            write_rating,
            write_time,
        ];
        write(&path, &schema, Compression::SNAPPY, 1, &columns);
        let (found, rejected, kinds) = ratings(&workers, &path).await;
        assert_eq!(found, [stored("ann, \"the\" 1st", "42", rating, time)], "{schema}");
        assert!(rejected.is_empty());
        // The type of the column says what an id is, not how its values look.
        assert_eq!(kinds, (IdKind::Text, IdKind::Text));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_rows_are_named_by_their_numbers() {
    let workers = Workers::start(1, 1).await;
    let path = workers.folder.path().join("r.parquet");
    let schema = "message m { optional double who; optional int64 what; optional double much; optional int64 when (TIMESTAMP(MILLIS,true)); }";
    let columns: [Column<'_>; 4] = [
        &|column, group| put::<DoubleType>(column, &[group as f64 * 10.0, 1.5, 3.0, 4.0, 5.0], Some(&[1; 5])),
        &|column, _| put::<Int64Type>(column, &[1, 2, 4, 5], Some(&[1, 1, 0, 1, 1])),
        &|column, _| put::<DoubleType>(column, &[3.5, 3.5, 3.5, f64::NAN, 3.5], Some(&[1; 5])),
        &|column, _| put::<Int64Type>(column, &[7_000; 4], Some(&[1, 1, 1, 1, 0])),
    ];
    write(&path, schema, Compression::SNAPPY, 2, &columns);
    let (found, rejected, kinds) = ratings(&workers, &path).await;
    // A rating without a time is one.
    assert_eq!(found, [stored("0", "1", 3.5, 7), stored("10", "1", 3.5, 7), stored("5", "5", 3.5, 0)]);
    assert_eq!(kinds, (IdKind::Integer, IdKind::Integer));
    let rejected: Vec<(u64, &str)> = rejected.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
    let of_group = |first: u64| {
        [
            (
                first + 1,
                "the user id is not a whole number as the file's first ids are (--user-ids text takes any)",
            ),
            (first + 2, "the item id is empty"),
            (first + 3, "the rating is not a number"),
        ]
    };
    assert_eq!(rejected, [of_group(1), of_group(6)].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_parquet_files_is_recognised_and_damage_is_said() {
    let workers = Workers::start(2, 1).await;
    let folder = workers.folder.path().join("source");
    std::fs::create_dir_all(&folder).unwrap();
    let schema = "message m { required int64 userId; required int64 movieId; required float rating; }";
    let columns: [Column<'_>; 3] = [
        &|column, _| put::<Int64Type>(column, &[1, 2], None),
        &|column, _| put::<Int64Type>(column, &[10, 20], None),
        &|column, _| put::<FloatType>(column, &[3.5, 4.0], None),
    ];
    write(&folder.join("ratings.parquet"), schema, Compression::SNAPPY, 1, &columns);
    let schema =
        "message m { required int64 movieId; required binary title (UTF8); optional binary genres (UTF8); }";
    let columns: [Column<'_>; 3] = [
        &|column, _| put::<Int64Type>(column, &[10, 30], None),
        &|column, _| put::<ByteArrayType>(column, &[text("Ten (1979)"), text(" Thirty ")], None),
        &|column, _| put::<ByteArrayType>(column, &[text("(no genres listed)")], Some(&[1, 0])),
    ];
    write(&folder.join("movies.parquet"), schema, Compression::SNAPPY, 1, &columns);
    let imported = workers.import(&source(&folder), SHARDS, 1_000).await.unwrap();
    let stored_ratings = workers.stored(&imported.info, Side::Users).await;
    assert_eq!(stored_ratings, [stored("1", "10", 3.5, 0), stored("2", "20", 4.0, 0)]);
    let titles = workers.catalogue(&imported.info).await;
    assert_eq!(titles["10"], ("10".into(), "Ten (1979)".into(), Some(1979), String::new()));
    assert_eq!(titles["30"].1, "Thirty");
    assert_eq!((imported.info.items, imported.info.catalogue_items), (3, 2));

    let whole = std::fs::read(folder.join("ratings.parquet")).unwrap();
    for damaged in [&whole[..whole.len() - 5], &whole[whole.len() / 2..], b"PAR1"] {
        std::fs::write(folder.join("ratings.parquet"), damaged).unwrap();
        let refused = workers.inspect(&source(&folder)).await.unwrap_err();
        assert!(refused.message().contains("cannot read the Parquet file"), "{}", refused.message());
    }
    let schema = "message m { required int64 userId; required boolean movieId; required float rating; }";
    let columns: [Column<'_>; 3] = [
        &|column, _| put::<Int64Type>(column, &[1], None),
        &|column, _| put::<parquet::data_type::BoolType>(column, &[true], None),
        &|column, _| put::<FloatType>(column, &[3.5], None),
    ];
    write(&folder.join("ratings.parquet"), schema, Compression::SNAPPY, 1, &columns);
    let refused = workers.inspect(&source(&folder)).await.unwrap_err();
    assert!(refused.message().contains("'movieId'") && refused.message().contains("BOOLEAN"), "{refused}");
}

/// Reads a file of one row group of three rows, whose ids and ratings are declared like this (`%` stands for the name).
async fn with_types(
    workers: &Workers,
    declared: [&str; 3],
    [users, items, ratings_of]: [Column<'_>; 3],
) -> (Vec<Stored>, Vec<(u64, String)>, (IdKind, IdKind)) {
    let path = workers.folder.path().join("r.parquet");
    write_types(&path, declared, [users, items, ratings_of]);
    ratings(workers, &path).await
}

fn write_types(path: &Path, declared: [&str; 3], columns: [Column<'_>; 3]) {
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    write_types_with(path, declared, properties.build(), columns);
}

fn write_types_with(
    path: &Path,
    declared: [&str; 3],
    properties: WriterProperties,
    [users, items, ratings_of]: [Column<'_>; 3],
) {
    let names = ["who", "what", "much"];
    let fields: Vec<String> =
        declared.iter().zip(names).map(|(kind, name)| format!("{};", kind.replace('%', name))).collect();
    let schema = format!("message m {{ {} required int64 when; }}", fields.join(" "));
    let when: Column<'_> = &|column, _| put::<Int64Type>(column, &[978_300_760; 3], None);
    write_with(path, &schema, properties, 1, &[users, items, ratings_of, when]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_and_ratings_are_what_their_types_say() {
    const TIME: i64 = 978_300_760;
    let workers = Workers::start(2, 1).await;
    let small: Column<'_> = &|column, _| put::<Int32Type>(column, &[1, 2, 3], None);
    let half = |value: f32| FixedLenByteArray::from(half::f16::from_f32(value).to_le_bytes().to_vec());
    let halves: Column<'_> =
        &|column, _| put::<FixedLenByteArrayType>(column, &[half(0.5), half(4.0), half(-1.5)], None);
    // Above 2^31, where a sign would be.
    let unsigned: Column<'_> =
        &|column, _| put::<Int32Type>(column, &[4_000_000_000_u32 as i32, 7, u32::MAX as i32], None);
    let declared = [
        "required int32 % (INTEGER(32,false))",
        "required int32 % (INTEGER(8,true))",
        "required fixed_len_byte_array(2) % (FLOAT16)",
    ];
    let (found, rejected, kinds) = with_types(&workers, declared, [unsigned, small, halves]).await;
    let expected = [
        stored("4000000000", "1", 0.5, TIME),
        stored("4294967295", "3", -1.5, TIME),
        stored("7", "2", 4.0, TIME),
    ];
    assert_eq!((&found[..], kinds), (&expected[..], (IdKind::Integer, IdKind::Integer)));
    assert!(rejected.is_empty());

    // A yes is a rating of 1; sixteen bytes are a UUID; an id may be a decimal number without a fraction.
    let uuids: Column<'_> = &|column, _| {
        let uuid = |first: u8| FixedLenByteArray::from([&[first][..], &[0x5a; 15]].concat());
        put::<FixedLenByteArrayType>(column, &[uuid(1), uuid(2), uuid(3)], None);
    };
    let decimals: Column<'_> = &|column, _| {
        let decimal = |value: i128| FixedLenByteArray::from(value.to_be_bytes().to_vec());
        let values = [900_719_925_474_099_300, -500, 700].map(decimal);
        put::<FixedLenByteArrayType>(column, &values, None);
    };
    let likes: Column<'_> =
        &|column, _| put::<parquet::data_type::BoolType>(column, &[true, false, true], None);
    let declared = [
        "required fixed_len_byte_array(16) % (UUID)",
        "required fixed_len_byte_array(16) % (DECIMAL(38,2))",
        "required boolean %",
    ];
    let (found, rejected, kinds) = with_types(&workers, declared, [uuids, decimals, likes]).await;
    let tail = "5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";
    let expected = [
        stored(&format!("01{tail}"), "9007199254740993", 1.0, TIME),
        stored(&format!("02{tail}"), "-5", 0.0, TIME),
        stored(&format!("03{tail}"), "7", 1.0, TIME),
    ];
    assert_eq!((&found[..], kinds), (&expected[..], (IdKind::Text, IdKind::Integer)));
    assert!(rejected.is_empty());

    // Texts by whatever name: with a length, as JSON, as an enumeration, or as bytes.
    let fixed: Column<'_> = &|column, _| {
        let text = |text: &str| FixedLenByteArray::from(text.as_bytes().to_vec());
        put::<FixedLenByteArrayType>(column, &[text("aa"), text("bb"), text("7 ")], None);
    };
    let texts: Column<'_> =
        &|column, _| put::<ByteArrayType>(column, &[text("x"), text("\u{e9}"), text("\"z\"")], None);
    let numbers: Column<'_> =
        &|column, _| put::<ByteArrayType>(column, &[text("1.5"), text(" 2 "), text("3e0")], None);
    for kind in ["required binary % (JSON)", "required binary % (ENUM)", "required binary %"] {
        let declared = ["required fixed_len_byte_array(2) %", kind, "required binary % (UTF8)"];
        let (found, rejected, kinds) = with_types(&workers, declared, [fixed, texts, numbers]).await;
        let expected = [
            stored("7", "\"z\"", 3.0, TIME),
            stored("aa", "x", 1.5, TIME),
            stored("bb", "\u{e9}", 2.0, TIME),
        ];
        assert_eq!((&found[..], kinds), (&expected[..], (IdKind::Text, IdKind::Text)));
        assert!(rejected.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_beyond_64_bits_make_texts_of_a_column() {
    let workers = Workers::start(1, 1).await;
    let path = workers.folder.path().join("r.parquet");
    let wide: Column<'_> = &|column, _| put::<Int64Type>(column, &[u64::MAX as i64, 5, i64::MAX], None);
    let narrow: Column<'_> = &|column, _| put::<Int64Type>(column, &[7, 5, i64::MAX], None);
    let decimals: Column<'_> = &|column, _| {
        let decimal = |value: i128| FixedLenByteArray::from(value.to_be_bytes().to_vec());
        put::<FixedLenByteArrayType>(column, &[1_i128 << 70, 500, -700].map(decimal), None);
    };
    let small: Column<'_> = &|column, _| put::<Int32Type>(column, &[1, 2, 3], None);
    let much: Column<'_> = &|column, _| put::<FloatType>(column, &[1.0, 2.0, 3.0], None);
    let unsigned = ["required int64 % (INTEGER(64,false))", "required int32 %", "required float %"];
    let decimal =
        ["required fixed_len_byte_array(16) % (DECIMAL(38,0))", "required int32 %", "required float %"];
    let users = async |source: &DatasetSource| {
        let found = workers.inspect(source).await.unwrap();
        let imported = workers.import(source, SHARDS, 1_000).await.unwrap();
        let stored = workers.stored(&imported.info, Side::Users).await;
        let users: Vec<String> = stored.into_iter().map(|rating| rating.0).collect();
        (imported.info.user_id_kind(), users, found.look.unwrap().user_ids_because, imported.rejected)
    };
    let source = with_columns(&path, ["who", "what", "much", "when"]);
    for (declared, ids, all) in [
        (unsigned, wide, ["18446744073709551615", "5", "9223372036854775807"]),
        (decimal, decimals, ["-700", "1180591620717411303424", "500"]),
    ] {
        write_types(&path, declared, [ids, small, much]);
        let (kind, mut found, because, rejected) = users(&source).await;
        found.sort();
        assert_eq!((kind, &found[..], rejected.len()), (IdKind::Text, &all.map(str::to_owned)[..], 0));
        assert!(because.contains("larger than 9223372036854775807"), "{because}");
    }
    // As numbers they are refused one by one.
    write_types(&path, unsigned, [wide, small, much]);
    let as_numbers = DatasetSource { user_id_kind: IdKind::Integer.into(), ..source.clone() };
    let (kind, found, _, rejected) = users(&as_numbers).await;
    assert_eq!((kind, found.len()), (IdKind::Integer, 2));
    let [(_, row, reason)] = &rejected[..] else { panic!("{rejected:?}") };
    assert!(*row == 1 && reason.contains("9223372036854775807") && reason.contains("--user-ids text"));

    // Whole numbers that fit stay numbers, where the file says how large they are.
    write_types(&path, unsigned, [narrow, small, much]);
    assert_eq!(users(&source).await.0, IdKind::Integer);
    let silent = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).build();
    write_types_with(&path, unsigned, silent, [narrow, small, much]);
    let (kind, found, because, _) = users(&source).await;
    assert_eq!((kind, found.len()), (IdKind::Text, 3));
    assert!(because.contains("does not say how large"), "{because}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn genres_and_tags_may_be_lists_however_they_are_written() {
    let workers = Workers::start(2, 1).await;
    let folder = workers.folder.path().join("source");
    std::fs::create_dir_all(&folder).unwrap();
    let ids: Column<'_> = &|column, _| put::<Int64Type>(column, &[10, 20, 30, 40], None);
    let schema = "message m { required int64 userId; required int64 movieId; required float rating; }";
    let much: Column<'_> = &|column, _| put::<FloatType>(column, &[1.0; 4], None);
    write(&folder.join("ratings.parquet"), schema, Compression::SNAPPY, 1, &[ids, ids, much]);
    let titles: Column<'_> =
        &|column, _| put::<ByteArrayType>(column, &[text("A"), text("B"), text("C"), text("D")], None);
    // Two, one, none of the list, and no list; with the level of a value that is there in each way to write it.
    for (list, levels) in [
        (
            "optional group % (LIST) { repeated group list { optional binary element (UTF8); } }",
            [3, 3, 3, 1, 0],
        ),
        ("optional group % (LIST) { repeated binary array (UTF8); }", [2, 2, 2, 1, 0]),
        ("repeated binary % (UTF8)", [1, 1, 1, 0, 0]),
    ] {
        let genres: Column<'_> = &|column, _| {
            let values = [text("Drama"), text("Film-Noir"), text("War")];
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&levels), Some(&[0, 1, 0, 0, 0])).unwrap();
        };
        let list =
            |name: &str| format!("{}{}", list.replace('%', name), if list.ends_with('}') { "" } else { ";" });
        let schema = format!(
            "message m {{ required int64 movieId; required binary title (UTF8); {} }}",
            list("genres")
        );
        write(&folder.join("movies.parquet"), &schema, Compression::SNAPPY, 1, &[ids, titles, genres]);
        let schema =
            format!("message m {{ required int64 userId; required int64 movieId; {} }}", list("tag"));
        write(&folder.join("tags.parquet"), &schema, Compression::SNAPPY, 1, &[ids, ids, genres]);
        let imported = workers.import(&source(&folder), SHARDS, 1_000).await.unwrap();
        let catalogue = workers.catalogue(&imported.info).await;
        let genres = |item: &str| catalogue[item].3.clone();
        assert_eq!(["10", "20", "30", "40"].map(genres), ["Drama|Film-Noir", "War", "", ""], "{schema}");
        let tags: Vec<(String, String)> =
            workers.tags(&imported.info).await.into_iter().map(|tag| (tag.0, tag.2)).collect();
        let tag = |item: &str, tag: &str| (item.to_owned(), tag.to_owned());
        assert_eq!(tags, [tag("10", "Drama"), tag("10", "Film-Noir"), tag("20", "War")], "{schema}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_at_byte_0_is_none() {
    let workers = Workers::start(1, 1).await;
    let path = workers.folder.path().join("r.parquet");
    let whole: Column<'_> = &|column, _| put::<Int64Type>(column, &[1, 2, 3], None);
    let much: Column<'_> = &|column, _| put::<FloatType>(column, &[1.0, 2.0, 3.0], None);
    let schema =
        "message m { required int64 who; required int64 what; required float much; required int64 when; }";
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for _ in 0..2 {
        let mut group = writer.next_row_group().unwrap();
        for column in [whole, whole, much, whole] {
            let mut next = group.next_column().unwrap().unwrap();
            column(&mut next, 0);
            next.close().unwrap();
        }
        group.close().unwrap();
    }
    let metadata = writer.close().unwrap();
    // The same with the footer that some writers make.
    let mut builder = metadata.into_builder();
    let groups = builder.take_row_groups().into_iter().map(|group| {
        let columns = group.columns().iter().map(|column| {
            let column = column.clone().into_builder().set_dictionary_page_offset(Some(0));
            // Indexes of pages would have to be written again.
            let column = column.set_offset_index_offset(None).set_offset_index_length(None);
            column.set_column_index_offset(None).set_column_index_length(None).build().unwrap()
        });
        let columns = columns.collect();
        group.into_builder().set_column_metadata(columns).build().unwrap()
    });
    let groups = groups.collect();
    let metadata = builder.set_row_groups(groups).set_page_index(None).build();
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish().unwrap();
    let length = bytes.len() - 8;
    let old_footer = u32::from_le_bytes(bytes[length..length + 4].try_into().unwrap()) as usize;
    bytes.truncate(length - old_footer);
    bytes.extend(footer);
    std::fs::write(&path, bytes).unwrap();
    let (found, rejected, _) = ratings(&workers, &path).await;
    assert_eq!(found, [stored("1", "1", 1.0, 1), stored("2", "2", 2.0, 2), stored("3", "3", 3.0, 3)]);
    assert!(rejected.is_empty());
}
