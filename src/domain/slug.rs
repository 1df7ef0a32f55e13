//! Names in addresses. `random` is any random number: the caller draws it, so that the rule itself is pure.
//! Source: API reference, identity 2.2 (organizations), executions 14.2 (projects).

/// A project's slug: lower case, blanks become `-`, everything but letters, digits and `-` goes. A name without
/// Latin letters or digits gets `project-<8 hex>`.
#[must_use]
pub fn project_slug(name: &str, random: u32) -> String {
    let kept = name.chars().flat_map(char::to_lowercase).filter_map(|character| match character {
        'a'..='z' | '0'..='9' => Some(character),
        '-' => Some('-'),
        blank if blank.is_whitespace() => Some('-'),
        _ => None,
    });
    let slug = join_dashes(kept);
    if slug.is_empty() { format!("project-{random:08x}") } else { slug }
}

/// An organization's slug: lower case, every run of other characters becomes one `-`; `None` if nothing is left.
#[must_use]
pub fn organization_slug(name: &str) -> Option<String> {
    let kept = name.chars().flat_map(char::to_lowercase);
    let slug =
        join_dashes(kept.map(|character| if character.is_ascii_alphanumeric() { character } else { '-' }));
    (!slug.is_empty()).then_some(slug)
}

/// An organization's slug when the plain one is taken or empty: with `-<6 hex>`, or `org-<6 hex>`.
#[must_use]
pub fn organization_slug_with_suffix(name: &str, random: u32) -> String {
    let base = organization_slug(name).unwrap_or_else(|| "org".to_owned());
    format!("{base}-{:06x}", random & 0x00FF_FFFF)
}

/// Collapses runs of `-` and drops them at both ends.
fn join_dashes(characters: impl Iterator<Item = char>) -> String {
    let mut slug = String::new();
    let mut pending = false;
    for character in characters {
        if character == '-' {
            pending = !slug.is_empty();
        } else {
            if pending {
                slug.push('-');
                pending = false;
            }
            slug.push(character);
        }
    }
    slug
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_become_slugs() {
        for (name, slug) in [
            ("Web Shop", "web-shop"),
            ("  Web   Shop -- 2 ", "web-shop-2"),
            ("a&b", "ab"),
            ("Čau_x", "aux"),
            ("-", "project-0000002a"),
            ("日本", "project-0000002a"),
            ("", "project-0000002a"),
        ] {
            assert_eq!(project_slug(name, 42), slug, "{name}");
        }
    }

    #[test]
    fn organization_names_become_slugs() {
        for (name, slug) in [
            ("Pinewood Labs", Some("pinewood-labs")),
            ("--A & B!", Some("a-b")),
            ("a_b", Some("a-b")),
            ("日本", None),
            ("!?", None),
        ] {
            assert_eq!(organization_slug(name).as_deref(), slug, "{name}");
        }
        assert_eq!(organization_slug_with_suffix("A B", 0xFFAB_CDEF), "a-b-abcdef");
        assert_eq!(organization_slug_with_suffix("日本", 1), "org-000001");
    }
}
