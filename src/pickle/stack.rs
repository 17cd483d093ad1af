use super::builder::{Builder, Limits};

/// Objects that the memo may hold whatever the length of the file.
const FREE_MEMOS: u64 = 64;

/// The stack of the machine, the marks between its values, and the memo.
pub(super) struct Stack<B: Builder> {
    values: Vec<B::Value>,
    /// The heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: Vec<Option<B::Value>>,
}

impl<B: Builder> Stack<B> {
    const LIMITS: Limits = B::LIMITS;

    pub(super) fn new() -> Self {
        Self { values: Vec::new(), marks: Vec::new(), memo: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The number of values.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub(super) fn push(&mut self, value: B::Value) -> Result<(), String> {
        if self.values.len() >= Self::LIMITS.stack {
            return Err(format!("more than {} values on the stack", Self::LIMITS.stack));
        }
        self.values.push(value);
        Ok(())
    }

    pub(super) fn mark(&mut self) -> Result<(), String> {
        if self.marks.len() == Self::LIMITS.marks {
            return Err(format!("nested more than {} deep", Self::LIMITS.marks));
        }
        self.marks.push(self.values.len());
        Ok(())
    }

    /// Takes the last MARK away and returns where the values above it begin.
    #[inline]
    pub(super) fn unmark(&mut self) -> Result<usize, String> {
        self.marks.pop().ok_or_else(|| "needs a MARK".to_string())
    }

    /// Where the uppermost `count` values begin, which are above the last MARK.
    #[inline]
    pub(super) fn below(&self, count: usize) -> Result<usize, String> {
        match self.values.len().checked_sub(count) {
            Some(from) if from >= self.floor() => Ok(from),
            _ => Err("too few values on the stack".to_string()),
        }
    }

    #[inline]
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    /// The values from this height on.
    #[inline]
    pub(super) fn above(&self, from: usize) -> &[B::Value] {
        &self.values[from..]
    }

    /// The value just below this height, where it is above the last MARK: the container of the values from there on.
    #[inline]
    pub(super) fn container(&self, from: usize) -> Option<&B::Value> {
        if from > self.floor() { self.values.get(from - 1) } else { None }
    }

    /// Takes the values from this height on away.
    #[inline]
    pub(super) fn truncate(&mut self, from: usize) {
        self.values.truncate(from);
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Result<B::Value, String> {
        self.below(1)?;
        self.values.pop().ok_or_else(|| "too few values on the stack".to_string())
    }

    #[inline]
    pub(super) fn top(&self) -> Result<&B::Value, String> {
        let from = self.below(1)?;
        Ok(&self.values[from])
    }

    /// The only value, where nothing is left over.
    pub(super) fn only(&self) -> Result<&B::Value, String> {
        match self.values.as_slice() {
            [value] if self.marks.is_empty() => Ok(value),
            values => Err(format!(
                "an unfinished pickle: {} on the stack and {} open marks",
                values.len(),
                self.marks.len()
            )),
        }
    }

    /// Keeps the top in the memo under the next free number.
    #[inline]
    pub(super) fn memoize(&mut self, at: u64) -> Result<(), String> {
        self.put(self.memo.len() as u64, at)
    }

    /// Keeps the top in the memo under a number that a pickle may have used up to byte `at`.
    #[inline]
    pub(super) fn put(&mut self, index: u64, at: u64) -> Result<(), String> {
        let value = self.top()?.clone();
        if index == self.memo.len() as u64 && index < Self::memo_limit(at) {
            self.memo.push(Some(value));
            return Ok(());
        }
        self.put_anywhere(index, value, at)
    }

    #[inline]
    fn memo_limit(at: u64) -> u64 {
        Self::LIMITS.memo.min(FREE_MEMOS + at / Self::LIMITS.bytes_per_memo)
    }

    /// Picklers count up by one; others may leave gaps, as long as those are small.
    #[cold]
    fn put_anywhere(&mut self, index: u64, value: B::Value, at: u64) -> Result<(), String> {
        let limit = Self::memo_limit(at);
        if index >= limit {
            return Err(format!("object {index} of the memo, expected less than {limit} up to here"));
        }
        let index = index as usize;
        if index >= self.memo.len() {
            self.memo.resize(index + 1, None);
        }
        self.memo[index] = Some(value);
        Ok(())
    }

    /// Pushes the object that the memo holds under a number.
    #[inline]
    pub(super) fn get(&mut self, index: u32) -> Result<(), String> {
        match self.memo.get(index as usize) {
            Some(Some(value)) => self.push(value.clone()),
            _ => Err(format!("object {index} of the memo, which is not there")),
        }
    }
}
