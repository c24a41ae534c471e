//! Imports of Parquet files: columns of any type, in any number of row groups.

use std::{fs::File, path::Path, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{
        ByteArray, ByteArrayType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType,
        Int32Type, Int64Type, Int96, Int96Type,
    },
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};
use shoal_proto::v1::{IdKind, Side};

use crate::support::{
    Workers,
    import::{Stored, source, with_columns},
};

const SHARDS: u32 = 3;

/// Writes one column of a row group: its values, and which rows have one.
type Column<'a> = &'a dyn Fn(&mut SerializedColumnWriter<'_>, usize);

/// Writes a file of `groups` row groups.
fn write(path: &Path, schema: &str, compression: Compression, groups: usize, columns: &[Column<'_>]) {
    let properties = WriterProperties::builder().set_compression(compression).build();
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
    assert_eq!(found, [stored("0", "1", 3.5, 7), stored("10", "1", 3.5, 7)]);
    assert_eq!(kinds, (IdKind::Integer, IdKind::Integer));
    let rejected: Vec<(u64, &str)> = rejected.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
    let of_group = |first: u64| {
        [
            (
                first + 1,
                "the user id is not a whole number as the file's first ids are (--user-ids text takes any)",
            ),
            (first + 2, "the movie id is empty"),
            (first + 3, "the rating is not a number"),
            (first + 4, "the timestamp is neither seconds nor a date"),
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
