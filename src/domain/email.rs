//! E-mail addresses: one form, so that one person is one account. Source: API reference, identity 1.4.

/// Characters of an address.
const CHARS_MAX: usize = 254;

/// The stored form of `address` (trimmed, lower case), or `None` if it is none: exactly one `@`, no white space,
/// something before it, and behind it a domain with a dot that has text on both sides.
#[must_use]
pub fn normalise(address: &str) -> Option<String> {
    let address = address.trim().to_lowercase();
    let (local, domain) = address.split_once('@')?;
    let blank_or_control = |character: char| character.is_whitespace() || character.is_control();
    let labels_ok = domain.contains('.') && domain.split('.').all(|label| !label.is_empty());
    let valid = !local.is_empty()
        && !domain.contains('@')
        && labels_ok
        && !address.contains(blank_or_control)
        && address.chars().count() <= CHARS_MAX;
    valid.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_trimmed_and_in_lower_case() {
        assert_eq!(normalise(" Rosa@Pinewood.Test\n").as_deref(), Some("rosa@pinewood.test"));
        assert_eq!(normalise("a+b.c@d-e.co.uk").as_deref(), Some("a+b.c@d-e.co.uk"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "rosa",
            "rosa@",
            "@pinewood.test",
            "rosa@pinewood",
            "rosa@.test",
            "rosa@test.",
            "rosa@a..test",
            "ro sa@pinewood.test",
            "rosa@pine\twood.test",
            "rosa@@pinewood.test",
            "a@b@c.test",
            "rosa@pinewood.te\0st",
        ] {
            assert_eq!(normalise(bad), None, "{bad:?}");
        }
        let long = |chars: usize| format!("{}@pinewood.test", "a".repeat(chars - 14));
        assert!(normalise(&long(254)).is_some());
        assert_eq!(normalise(&long(255)), None);
    }
}
