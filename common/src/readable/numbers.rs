//! Numbers and times as people read them.

/// A whole number with separators: 1,234,567.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something whose name takes an s in the plural: 1 user, 1,234 users.
#[must_use]
pub fn counted(value: u64, one: &str) -> String {
    format!("{} {one}{}", count(value), if value == 1 { "" } else { "s" })
}

/// An ISO 8601 time without its fraction: 2026-11-24 10:15:00.
#[must_use]
pub fn to_the_second(iso: &str) -> String {
    iso.chars().take("2026-11-24T10:15:00".len()).collect::<String>().replace('T', " ")
}

/// A number of bytes in decimal units: 512 B, 8.40 kB, 123.46 MB.
#[must_use]
pub fn bytes(value: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut scaled = value as f64;
    let mut unit = "B";
    for larger in units {
        if scaled < 1_000.0 {
            break;
        }
        (scaled, unit) = (scaled / 1_000.0, larger);
    }
    if unit == "B" { format!("{value} B") } else { format!("{scaled:.2} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "user"), counted(1_234, "user")], ["1 user", "1,234 users"]);
        assert_eq!(to_the_second("2026-11-24T10:15:00.250Z"), "2026-11-24 10:15:00");
        assert_eq!([999, 1_000, 12_345_678].map(bytes), ["999 B", "1.00 kB", "12.35 MB"]);
    }
}
