const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// A moment in UTC.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    seconds: u64,
}

impl Date {
    /// 26 July 2024, which LLaMA 3's templates fall back to where no date is given.
    pub const FIXED: Self = Self { seconds: 1_721_952_000 };

    /// As Python's `strftime`, for what chat templates ask; anything else stays as it is written.
    pub fn format(&self, format: &str) -> String {
        let days = self.seconds / 86_400;
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (self.seconds / 3600 % 24, self.seconds / 60 % 60, self.seconds % 60);
        let (name, weekday) = (MONTHS[month as usize - 1], DAYS[(days % 7) as usize]);
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                out.push(char);
                continue;
            }
            match chars.next() {
                Some('Y') => out += &year.to_string(),
                Some('y') => out += &format!("{:02}", year % 100),
                Some('m') => out += &format!("{month:02}"),
                Some('B') => out += name,
                Some('b') => out += &name[..3],
                Some('d') => out += &format!("{day:02}"),
                Some('A') => out += weekday,
                Some('a') => out += &weekday[..3],
                Some('H') => out += &format!("{hour:02}"),
                Some('I') => out += &format!("{:02}", (hour + 11) % 12 + 1),
                Some('p') => out += if hour < 12 { "AM" } else { "PM" },
                Some('M') => out += &format!("{minute:02}"),
                Some('S') => out += &format!("{second:02}"),
                Some('F') => out += &format!("{year}-{month:02}-{day:02}"),
                Some('T') => out += &format!("{hour:02}:{minute:02}:{second:02}"),
                Some('Z') => out += "UTC",
                Some('%') => out.push('%'),
                Some(other) => out.extend(['%', other]),
                None => out.push('%'),
            }
        }
        out
    }
}

/// Year, month and day of a number of days since 1970.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    // The calendar repeats itself after 400 years.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_python() {
        let format = "%Y-%m-%d %H:%M:%S %d %b %Y %A %B %I %p %y %a";
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 01 Jan 1970 Thursday January 12 AM 70 Thu"),
            (951_782_399, "2000-02-28 23:59:59 28 Feb 2000 Monday February 11 PM 00 Mon"),
            (951_868_799, "2000-02-29 23:59:59 29 Feb 2000 Tuesday February 11 PM 00 Tue"),
            (4_107_542_400, "2100-03-01 00:00:00 01 Mar 2100 Monday March 12 AM 00 Mon"),
            (1_767_182_400, "2025-12-31 12:00:00 31 Dec 2025 Wednesday December 12 PM 25 Wed"),
        ] {
            assert_eq!(Date { seconds }.format(format), expected);
        }
        assert_eq!(Date { seconds: 0 }.format("100%% %q %"), "100% %q %");
    }
}
