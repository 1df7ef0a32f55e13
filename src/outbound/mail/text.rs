//! Text of people in letters, and lines that a terminal shows whole.

/// Characters of a line of the text part.
pub(super) const LINE_CHARS_MAX: usize = 72;
/// Characters of a name in a subject.
pub(super) const SUBJECT_NAME_CHARS_MAX: usize = 60;

/// `text` on one line: white space of any kind is a space, what controls a terminal, a header or the direction of writing
/// is gone.
pub(super) fn one_line(text: &str) -> String {
    let is_hidden = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let spaced = text.split(|letter: char| letter.is_whitespace()).map(|word| word.replace(is_hidden, ""));
    spaced.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// `text`, at most `most` characters of it, and three dots where something is missing.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// `text` with lines of at most [`LINE_CHARS_MAX`] characters, broken at spaces. A word that is longer, such as a link, stands
/// alone on its line.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.trim().lines() {
        let mut line = String::new();
        let mut chars = 0;
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let more = word.chars().count();
            if chars > 0 && chars + 1 + more > LINE_CHARS_MAX {
                lines.push(std::mem::take(&mut line));
                chars = 0;
            }
            if chars > 0 {
                line.push(' ');
                chars += 1;
            }
            line.push_str(word);
            chars += more;
        }
        lines.push(line);
    }
    lines.push(String::new());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_one_line() {
        let check = |given: &str, expected: &str| assert_eq!(one_line(given), expected, "{given:?}");
        check("Rosa Linde", "Rosa Linde");
        check("  Zoë  Ünal ", "Zoë Ünal");
        check("Rosa\r\nBcc: all@pinewood.test", "Rosa Bcc: all@pinewood.test");
        check("Rosa\u{2028}Linde\u{85}x\u{b}y", "Rosa Linde x y");
        check("\u{1b}[2Jgone\u{0}", "[2Jgone");
        check("\u{202e}esrever\u{202c} \u{200b} \u{feff}x", "esrever x");
        check("\r\n", "");
    }

    #[test]
    fn subjects_hold_short_names() {
        assert_eq!(shortened("Pinewood", 8), "Pinewood");
        assert_eq!(shortened("Pinewood Labs", 9), "Pinewood…");
        assert_eq!(shortened("Pinewood Labs", 10), "Pinewood…");
        assert_eq!(shortened("ééééé", 3), "éé…");
    }

    #[test]
    fn lines_break_at_spaces_and_a_long_word_stands_alone() {
        let word = "a".repeat(36);
        assert_eq!(wrapped(&format!("{word} {}", "b".repeat(35))), format!("{word} {}\n", "b".repeat(35)));
        assert_eq!(wrapped(&format!("{word} {}", "b".repeat(36))), format!("{word}\n{}\n", "b".repeat(36)));
        let link = format!("https://{}", "x".repeat(100));
        assert_eq!(wrapped(&format!("see {link} now")), format!("see\n{link}\nnow\n"));
        assert_eq!(wrapped("\n\none\n\ntwo\n\n"), "one\n\ntwo\n");
    }
}
