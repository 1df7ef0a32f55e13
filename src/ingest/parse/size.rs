//! How many values a body is made of. Each takes the parser some 30 bytes, which is nothing for text and many times the
//! body for sixteen megabytes of brackets.

/// Whether `body` is made of more than `values_max` values, as far as that can be told before it is known to be JSON.
pub(super) fn exceeds(body: &[u8], values_max: usize) -> bool {
    // Punctuation of texts counts here too, so this can only be too high.
    let at_most = body.iter().filter(|byte| is_punctuation(**byte)).count();
    at_most > values_max && outside_texts(body) > values_max
}

fn is_punctuation(byte: u8) -> bool {
    matches!(byte, b',' | b':' | b'[' | b'{')
}

fn outside_texts(body: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_text,
            b'"' => in_text = !in_text,
            _ if !in_text && is_punctuation(*byte) => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_punctuation_between_values_counts() {
        for (body, count) in
            [("[1,2,{\"a\":3}]", 5), (r#"{"a":"[,:{","b":"\",,,"}"#, 4), (r#"["\\",1]"#, 2), ("", 0)]
        {
            assert_eq!(outside_texts(body.as_bytes()), count, "{body}");
            assert!(!exceeds(body.as_bytes(), count), "{body}");
            assert_eq!(exceeds(body.as_bytes(), count.saturating_sub(1)), count > 0, "{body}");
        }
    }
}
