//! A data set in words.

use shoal_proto::v1::DatasetInfo;

use crate::output;

/// A data set in a few lines, the last of them its import's report.
pub(in crate::cli) fn describe(info: &DatasetInfo) -> String {
    let mut text = format!(
        "{}@{}: {}, {} ({} with a title), {}\n\
         ratings  {} to {}, mean {:.4}\n\
         shards   {} per side\n\
         source   {}\n",
        info.name,
        info.version,
        output::counted(info.users, "user"),
        output::counted(info.items, "item"),
        output::count(info.catalogue_items),
        output::counted(info.ratings, "rating"),
        info.rating_min,
        info.rating_max,
        info.rating_mean,
        info.shard_count,
        info.source_uri,
    );
    if info.tags > 0 || info.genome_items > 0 {
        let [tags, genome] = [info.tags, info.genome_items].map(output::count);
        text.push_str(&format!("tags     {tags} by users; a tag genome of {genome} items\n"));
    }
    if let Some(report) = &info.report {
        text.push_str(&output::import_report_text(report, info.user_id_kind(), info.item_id_kind()));
    }
    text
}
