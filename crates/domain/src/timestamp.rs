//! Points in time in UTC with microsecond precision, as DSQL stores them.

use std::{fmt, str::FromStr, time::SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::InvalidValue;

/// A point in time in UTC with microsecond precision, from year 1 to year 9999.
///
/// DSQL's `TIMESTAMP` has microseconds, Temporal's clock nanoseconds. Every conversion truncates
/// towards the past (temporal-persistence.md#conventions), so a value read back equals the value
/// stored.
///
/// ```
/// use temporal_dsql_domain::Timestamp;
///
/// let time: Timestamp = "2026-11-23T02:19:02.780998937Z".parse()?;
/// assert_eq!(time.to_string(), "2026-11-23T02:19:02.780998Z");
/// # Ok::<(), temporal_dsql_domain::InvalidValue>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_micros: i64,
}

impl Timestamp {
    /// Microsecond 0 of 1970-01-01.
    pub const UNIX_EPOCH: Self = Self { unix_micros: 0 };
    /// 0001-01-01T00:00:00Z, Go's zero time.
    pub const MIN: Self = Self { unix_micros: -62_135_596_800_000_000 };
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self { unix_micros: 253_402_300_799_999_999 };
    /// 1000-01-01T00:00:00Z: what Temporal's SQL plugins store for Go's zero time
    /// (temporal-persistence.md#conventions). It is not converted; compare with this constant.
    pub const STORED_ZERO_TIME: Self = Self { unix_micros: -30_610_224_000_000_000 };

    /// The time `unix_micros` microseconds after the Unix epoch.
    ///
    /// # Errors
    /// Outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX).
    pub fn from_unix_micros(unix_micros: i64) -> Result<Self, InvalidValue> {
        let time = Self { unix_micros };
        InvalidValue::unless((Self::MIN..=Self::MAX).contains(&time), "timestamp", || {
            format!("{unix_micros} µs from the Unix epoch is not between year 1 and year 9999")
        })?;
        Ok(time)
    }

    /// The time `unix_nanos` nanoseconds after the Unix epoch, truncated to microseconds.
    ///
    /// # Errors
    /// As [`from_unix_micros`](Self::from_unix_micros).
    pub fn from_unix_nanos(unix_nanos: i128) -> Result<Self, InvalidValue> {
        let micros = i64::try_from(unix_nanos.div_euclid(1_000)).map_err(|_| {
            InvalidValue::new("timestamp", format!("{unix_nanos} ns is out of range"))
        })?;
        Self::from_unix_micros(micros)
    }

    /// The time of the system's clock. A clock outside [`MIN`](Self::MIN) to [`MAX`](Self::MAX) has
    /// the nearer of them.
    pub fn now() -> Self {
        Self::clamped(SystemTime::now())
    }

    fn clamped(time: SystemTime) -> Self {
        let unix_micros = match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            // Truncates towards the past, as every conversion.
            Err(before) => {
                let micros = before.duration().as_nanos().div_ceil(1_000);
                i64::try_from(micros).map_or(i64::MIN, |micros| -micros)
            }
        };
        Self { unix_micros }.clamp(Self::MIN, Self::MAX)
    }

    /// Microseconds since the Unix epoch; negative before it.
    pub const fn unix_micros(self) -> i64 {
        self.unix_micros
    }

    /// The same time as a type of the `time` crate, at offset UTC.
    pub fn to_offset_date_time(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.unix_micros) * 1_000)
            .expect("the constructor admits years 1 to 9999 only")
    }
}

impl TryFrom<OffsetDateTime> for Timestamp {
    type Error = InvalidValue;

    fn try_from(time: OffsetDateTime) -> Result<Self, InvalidValue> {
        Self::from_unix_nanos(time.unix_timestamp_nanos())
    }
}

impl FromStr for Timestamp {
    type Err = InvalidValue;

    /// Parses RFC 3339 and truncates to microseconds.
    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
            InvalidValue::new("timestamp", format!("`{text}` is not an RFC 3339 time: {error}"))
        })?;
        Self::try_from(time)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, always with six digits of a second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.to_offset_date_time();
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, micro) = time.to_hms_micro();
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({self})")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nanoseconds_are_truncated_towards_the_past_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_unix_nanos(1_999).unwrap().unix_micros(), 1);
        assert_eq!(Timestamp::from_unix_nanos(-1).unwrap().unix_micros(), -1);
        assert_eq!(Timestamp::from_unix_nanos(-1_001).unwrap().unix_micros(), -2);
    }

    #[test]
    fn the_constants_have_their_documented_times() {
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
        assert_eq!(Timestamp::STORED_ZERO_TIME.to_string(), "1000-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::UNIX_EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_time_outside_years_1_to_9999_is_refused() {
        assert!(Timestamp::from_unix_micros(Timestamp::MAX.unix_micros() + 1).is_err());
        assert!(Timestamp::from_unix_micros(Timestamp::MIN.unix_micros() - 1).is_err());
        assert!(Timestamp::from_unix_nanos(i128::MAX).is_err());
    }

    #[test]
    fn a_time_with_an_offset_is_converted_to_utc() {
        let time: Timestamp = "2026-11-23T04:19:02.5+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-11-23T02:19:02.500000Z");
        assert!("2026-11-23".parse::<Timestamp>().unwrap_err().reason.contains("RFC 3339"));
    }

    proptest! {
        #[test]
        fn every_time_survives_text_and_the_time_crate(
            micros in Timestamp::MIN.unix_micros()..=Timestamp::MAX.unix_micros()
        ) {
            let time = Timestamp::from_unix_micros(micros).unwrap();
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
            prop_assert_eq!(Timestamp::try_from(time.to_offset_date_time()).unwrap(), time);
        }
    }

    #[test]
    fn a_clock_before_1970_is_read_as_it_is_and_one_out_of_range_as_the_nearer_end() {
        let epoch = SystemTime::UNIX_EPOCH;
        let (second, nano) = (Duration::from_secs(1), Duration::from_nanos(1));
        let read = |time| Timestamp::clamped(time).unix_micros();
        assert_eq!(read(epoch + second + nano), 1_000_000);
        assert_eq!(read(epoch - second), -1_000_000);
        assert_eq!(read(epoch - second - nano), -1_000_001, "truncated towards the past");
        let years = Duration::from_secs(10_000 * 366 * 24 * 60 * 60);
        assert_eq!(Timestamp::clamped(epoch + years), Timestamp::MAX);
        assert_eq!(Timestamp::clamped(epoch - years), Timestamp::MIN);
    }
}
