//! The filter of a request, as it is read where the request arrives.

use shoal_proto::v1::ItemFilter;

/// Moves what a client has named as categories to the fields that are read everywhere else, behind what stands there.
pub fn take_categories(filter: &mut ItemFilter) {
    filter.genres.append(&mut filter.categories);
    filter.exclude_genres.append(&mut filter.exclude_categories);
}
