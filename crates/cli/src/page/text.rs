//! Strings and numbers as the page shows them.

/// What is shown where there is no number.
pub(super) const NONE: &str = "–";

/// Escapes `text` for element content and for attributes; characters that XML forbids become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// `text` on one line, without characters that XML forbids; not escaped.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => ' ',
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// At most `length` characters of `text`, for places of fixed width; not escaped.
pub(super) fn shorten(text: &str, length: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= length {
        return text;
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// A count with separators of thousands.
pub(super) fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun; the plural takes an `s`.
pub(super) fn counted(value: usize, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(value))
}

/// A number to four significant digits; [`NONE`] where it is not finite.
pub(super) fn number(value: f64) -> String {
    digits(value, 4)
}

/// A number to three significant digits, for prose and for labels in charts.
pub(super) fn brief(value: f64) -> String {
    digits(value, 3)
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    if !value.is_finite() {
        return NONE.into();
    }
    let places = match value.abs() {
        a if a >= 1e5 => return format!("{}\u{a0}%", digits(value, 3)),
        a if a >= 99.95 || a == 0.0 => 0,
        a if a >= 10.0 => 1,
        a if a >= 0.1 => 2,
        _ => return format!("{}\u{a0}%", digits(value, 2)),
    };
    format!("{}\u{a0}%", minus(format!("{value:.places$}")))
}

/// A share that someone chose, which is often a whole percentage.
pub(super) fn share(share: f64) -> String {
    let value = share * 100.0;
    if value.abs() < 1e5 && (value - value.round()).abs() < 1e-6 {
        return format!("{value:.0}\u{a0}%");
    }
    percent(share)
}

/// `value` to so many significant digits, as a power of ten where plain digits would be long.
pub(super) fn digits(value: f64, significant: usize) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let rounded = format!("{value:.*e}", significant.saturating_sub(1));
    let Some((mantissa, exponent)) = rounded.split_once('e') else { return rounded };
    let Ok(power) = exponent.parse::<i32>() else { return rounded };
    if (-3..6).contains(&power) {
        let places = (significant as i32 - 1 - power).max(0) as usize;
        return minus(thousands(&format!("{value:.places$}")));
    }
    let mantissa = mantissa.chars().take(if mantissa.starts_with('-') { 5 } else { 4 }).collect::<String>();
    minus(format!("{mantissa}×10{}", superscript(power)))
}

/// A power of ten, as a label of an axis.
pub(super) fn power_of_ten(power: i32) -> String {
    if (-3..6).contains(&power) { digits(10f64.powi(power), 1) } else { format!("10{}", superscript(power)) }
}

/// Separators of thousands in the whole part of a formatted number.
fn thousands(formatted: &str) -> String {
    let (sign, rest) = formatted.strip_prefix('-').map_or(("", formatted), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    match fraction {
        Some(fraction) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{whole}"),
    }
}

/// The hyphen as a minus sign.
fn minus(formatted: String) -> String {
    formatted.replace('-', "−")
}

/// An exponent in superscript characters.
fn superscript(power: i32) -> String {
    power
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            c => c.to_digit(10).and_then(|d| char::from_u32(0x2070 + d)).unwrap_or(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(0.39342), "0.3934");
        assert_eq!(number(-1234.56), "−1,235");
        assert_eq!(number(2.64e-4), "2.64×10⁻⁴");
        assert_eq!(number(1e300), "1.00×10³⁰⁰");
        assert_eq!(number(9.9999999), "10.00");
        assert_eq!(number(f64::NAN), NONE);
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(percent(0.0435), "4.35\u{a0}%");
        assert_eq!(percent(1.0), "100\u{a0}%");
        assert_eq!(power_of_ten(-2), "0.01");
        assert_eq!(power_of_ten(-9), "10⁻⁹");
    }

    #[test]
    fn hostile_text_is_harmless() {
        assert_eq!(escape("<script a='b'>&\u{0}"), "&lt;script a=&#39;b&#39;&gt;&amp;\u{fffd}");
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
