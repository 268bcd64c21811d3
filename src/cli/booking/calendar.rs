//! When the clinic is open and which appointments it offers. Pure: today is a parameter.

use jiff::civil::{Date, DateTime, Time, Weekday};
use std::collections::BTreeSet;

/// Length of one appointment, and the grid they start on.
const SLOT_MINUTES: i16 = 30;
/// First appointment of a working day, in minutes after midnight.
const OPENS: i16 = 9 * 60;
/// Closing time of a working day, in minutes after midnight; the last appointment ends then.
const CLOSES: i16 = 17 * 60;
/// Appointments are taken this many days ahead at most.
pub const HORIZON_DAYS: i64 = 366;
/// Alternatives offered: as many as a caller can keep in mind.
pub const ALTERNATIVES: usize = 3;

/// Why an appointment is not to be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unavailable {
    /// The clinic is closed on that day.
    ClosedDay,
    /// The clinic is closed at that time of day.
    ClosedTime,
    /// Appointments start every 30 minutes; this is between two.
    NotASlot,
    /// The moment has passed.
    Past,
    /// Somebody else has it.
    Taken,
}

impl Unavailable {
    /// The machine-readable reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ClosedDay | Self::ClosedTime => "closed",
            Self::NotASlot => "not_a_slot",
            Self::Past => "past",
            Self::Taken => "taken",
        }
    }
}

/// Whether appointments are given on `date` at all: Monday to Friday.
#[must_use]
pub fn is_open_on(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// Every appointment of a day, in order; none on a closed day.
pub fn slots(date: Date) -> impl Iterator<Item = Time> {
    let closes = if is_open_on(date) { CLOSES } else { OPENS };
    (OPENS..closes).step_by(SLOT_MINUTES as usize).filter_map(time_of)
}

fn time_of(minute: i16) -> Option<Time> {
    Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()
}

/// Minutes after midnight.
fn minute_of(time: Time) -> i16 {
    i16::from(time.hour()) * 60 + i16::from(time.minute())
}

/// Whether the appointment can be given, with the day's taken ones known.
///
/// # Errors
/// [`Unavailable`] with the first reason that applies.
pub fn check(date: Date, time: Time, taken: &BTreeSet<Time>, now: DateTime) -> Result<(), Unavailable> {
    let minute = minute_of(time);
    if date.to_datetime(time) <= now {
        Err(Unavailable::Past)
    } else if !is_open_on(date) {
        Err(Unavailable::ClosedDay)
    } else if !(OPENS..CLOSES).contains(&minute) {
        Err(Unavailable::ClosedTime)
    } else if (minute - OPENS) % SLOT_MINUTES != 0 {
        Err(Unavailable::NotASlot)
    } else if taken.contains(&time) {
        Err(Unavailable::Taken)
    } else {
        Ok(())
    }
}

/// The day's free appointments that are still to come.
pub fn free(date: Date, taken: &BTreeSet<Time>, now: DateTime) -> Vec<Time> {
    slots(date).filter(|time| check(date, *time, taken, now).is_ok()).collect()
}

/// Of `free`, the [`ALTERNATIVES`] nearest to `wanted`, in the order of the day.
#[must_use]
pub fn nearest(free: &[Time], wanted: Time) -> Vec<Time> {
    let mut near = free.to_vec();
    near.sort_by_key(|time| (minute_of(*time) - minute_of(wanted)).abs());
    near.truncate(ALTERNATIVES);
    near.sort();
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::{date, time};

    const TUESDAY: Date = date(2026, 11, 24);

    fn now() -> DateTime {
        date(2026, 11, 24).at(10, 10, 0, 0)
    }

    #[test]
    fn a_working_day_has_sixteen_half_hours_and_a_weekend_none() {
        let day: Vec<_> = slots(TUESDAY).collect();
        assert_eq!((day.len(), day[0], day[15]), (16, time(9, 0, 0, 0), time(16, 30, 0, 0)));
        assert_eq!(slots(date(2026, 11, 28)).count() + slots(date(2026, 11, 29)).count(), 0);
    }

    #[test]
    fn each_reason_for_no_is_told_apart() {
        let taken = BTreeSet::from([time(15, 0, 0, 0)]);
        for (day, at, expected) in [
            (TUESDAY, time(15, 30, 0, 0), Ok(())),
            (TUESDAY, time(15, 0, 0, 0), Err(Unavailable::Taken)),
            (TUESDAY, time(15, 10, 0, 0), Err(Unavailable::NotASlot)),
            (TUESDAY, time(17, 0, 0, 0), Err(Unavailable::ClosedTime)),
            (TUESDAY, time(10, 0, 0, 0), Err(Unavailable::Past)),
            (date(2026, 11, 28), time(15, 0, 0, 0), Err(Unavailable::ClosedDay)),
            (date(2026, 11, 25), time(8, 30, 0, 0), Err(Unavailable::ClosedTime)),
        ] {
            assert_eq!(check(day, at, &taken, now()), expected, "{day} {at}");
        }
    }

    #[test]
    fn today_offers_only_what_is_still_to_come() {
        assert_eq!(free(TUESDAY, &BTreeSet::new(), now())[0], time(10, 30, 0, 0));
    }

    #[test]
    fn alternatives_are_the_nearest_free_ones_in_the_order_of_the_day() {
        let taken = BTreeSet::from([time(15, 0, 0, 0), time(15, 30, 0, 0)]);
        let free = free(TUESDAY, &taken, now());
        assert_eq!(nearest(&free, time(15, 0, 0, 0)), [time(14, 0, 0, 0), time(14, 30, 0, 0), time(16, 0, 0, 0)]);
        assert!(nearest(&[], time(15, 0, 0, 0)).is_empty());
    }
}
