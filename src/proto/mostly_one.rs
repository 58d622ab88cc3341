//! A queue that mostly holds one thing.
use alloc::collections::VecDeque;

/// Room for so many is made at first.
const SEVERAL: usize = 4;

/// A queue in which there is mostly one thing at a time, and that takes no memory but its own then. To allocate a `VecDeque` each
/// time took 350 of the 9100 instructions of a SIZE (callgrind), for one of the two such queues that a session has; to keep its room
/// for four outputs would be a fifth of the memory of an idle session.
#[derive(Debug, Default)]
pub(crate) enum MostlyOne<T> {
    #[default]
    Nothing,
    One(T),
    /// Two or more have come; it holds one at least.
    Several(VecDeque<T>),
}

impl<T> MostlyOne<T> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(_) => 1,
            Self::Several(things) => things.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    pub(crate) fn push(&mut self, thing: T) {
        match self {
            Self::Nothing => *self = Self::One(thing),
            Self::One(_) => {
                if let Self::One(first) = core::mem::take(self) {
                    let mut things = VecDeque::with_capacity(SEVERAL);
                    things.push_back(first);
                    things.push_back(thing);
                    *self = Self::Several(things);
                }
            }
            Self::Several(things) => things.push_back(thing),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            Self::Nothing => None,
            Self::One(_) => match core::mem::take(self) {
                Self::One(thing) => Some(thing),
                Self::Nothing | Self::Several(_) => None,
            },
            Self::Several(things) => {
                let first = things.pop_front();
                if things.is_empty() {
                    *self = Self::Nothing;
                }
                first
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_out_in_order_and_leave_nothing_behind() {
        let mut queue = MostlyOne::default();
        for count in 0..4 {
            assert!(matches!(queue, MostlyOne::Nothing));
            (0..count).for_each(|number| queue.push(number));
            for number in 0..count {
                assert_eq!((queue.len(), queue.is_empty()), (count - number, false));
                assert_eq!(queue.pop(), Some(number));
            }
            assert_eq!((queue.len(), queue.is_empty(), queue.pop()), (0, true, None));
        }
        queue.push(1);
        queue.push(2);
        assert_eq!(queue.pop(), Some(1));
        queue.push(3);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(2), Some(3), None]);
    }
}
