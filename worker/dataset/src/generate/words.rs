//! Words for titles, genres and tags.

/// Tags of the genome.
pub(super) const GENOME_TAGS: [&str; 40] = [
    "atmospheric",
    "based on a book",
    "beautiful scenery",
    "bittersweet",
    "chase",
    "clever",
    "coming of age",
    "courtroom",
    "cult",
    "dark humour",
    "dialogue",
    "dystopia",
    "ensemble",
    "family",
    "friendship",
    "ghosts",
    "heist",
    "historical",
    "island",
    "journey",
    "loneliness",
    "mountains",
    "music",
    "nonlinear",
    "political",
    "quirky",
    "redemption",
    "revenge",
    "road trip",
    "robots",
    "sad",
    "satire",
    "sea",
    "slow",
    "small town",
    "space",
    "spies",
    "suspense",
    "time travel",
    "twist ending",
];

const ADJECTIVES: [&str; 48] = [
    "Amber",
    "Borrowed",
    "Broken",
    "Burning",
    "Crimson",
    "Crooked",
    "Distant",
    "Drifting",
    "Electric",
    "Empty",
    "Endless",
    "Fading",
    "Forgotten",
    "Frozen",
    "Gentle",
    "Golden",
    "Hidden",
    "Hollow",
    "Hungry",
    "Invisible",
    "Iron",
    "Last",
    "Lonely",
    "Lost",
    "Lucky",
    "Midnight",
    "Narrow",
    "Northern",
    "Paper",
    "Patient",
    "Perfect",
    "Quiet",
    "Restless",
    "Reluctant",
    "Rising",
    "Salted",
    "Second",
    "Secret",
    "Silent",
    "Silver",
    "Sleeping",
    "Stolen",
    "Strange",
    "Tender",
    "Unlikely",
    "Velvet",
    "Wandering",
    "Winter",
];

const NOUNS: [&str; 48] = [
    "Anchor",
    "Archive",
    "Bakery",
    "Bridge",
    "Cartographer",
    "Clockmaker",
    "Comet",
    "Compass",
    "Corridor",
    "Daughter",
    "Detective",
    "Envelope",
    "Ferry",
    "Garden",
    "Harbour",
    "Heir",
    "Horizon",
    "Hotel",
    "Inheritance",
    "Island",
    "Kingdom",
    "Lantern",
    "Letter",
    "Lighthouse",
    "Machine",
    "Meridian",
    "Messenger",
    "Mirror",
    "Mountain",
    "Navigator",
    "Orchard",
    "Parade",
    "Passenger",
    "Pilot",
    "Promise",
    "Railway",
    "River",
    "Season",
    "Signal",
    "Sister",
    "Station",
    "Stranger",
    "Summer",
    "Tower",
    "Tunnel",
    "Valley",
    "Violin",
    "Witness",
];

const PATTERNS: [fn(&str, &str) -> String; 8] = [
    |adjective, noun| format!("The {adjective} {noun}"),
    |adjective, noun| format!("{adjective} {noun}"),
    |adjective, noun| format!("{noun}, {adjective}"),
    |adjective, noun| format!("A {noun} Called {adjective}"),
    |adjective, noun| format!("My {adjective} {noun}"),
    |adjective, noun| format!("Return of the {adjective} {noun}"),
    |adjective, noun| format!("{adjective} Is the {noun}"),
    |adjective, noun| format!("No {noun} So {adjective}"),
];

/// A title that no other item of the same shuffle has.
pub(super) fn title(item: u64, shuffle: u64) -> String {
    let (adjectives, nouns, patterns) = (ADJECTIVES.len() as u64, NOUNS.len() as u64, PATTERNS.len() as u64);
    let combinations = adjectives * nouns * patterns;
    // A step that shares no factor with the number of combinations visits each once.
    let place = ((item % combinations) * 7_919 + shuffle % combinations) % combinations;
    let (adjective, rest) = (place % adjectives, place / adjectives);
    let (noun, pattern) = (rest % nouns, rest / nouns);
    let title = PATTERNS[pattern as usize](ADJECTIVES[adjective as usize], NOUNS[noun as usize]);
    match item / combinations {
        0 => title,
        sequel => format!("{title} {}", sequel + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_distinct() {
        let titles: std::collections::HashSet<String> = (0..40_000).map(|item| title(item, 12_345)).collect();
        assert_eq!(titles.len(), 40_000);
    }
}
