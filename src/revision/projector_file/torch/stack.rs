//! The stack and the memo of a pickle machine.

/// A dict of tensors needs a few, and its items come by the thousand.
const MAX_STACK: usize = 1 << 20;

/// A tensor in a dict in a dict needs six.
const MAX_MARKS: usize = 64;

/// Some ten for each of a hundred thousand tensors.
const MAX_MEMO: u64 = 1 << 20;

/// What is noted and the note itself take a byte each, so that a memo with more entries than the pickle has pairs of
/// bytes up to here is no pickler's.
const BYTES_A_MEMO: u64 = 2;
const FREE_MEMOS: u64 = 64;

/// Values, the MARKs between them, and what was noted for later.
pub(super) struct Stack<V> {
    values: Vec<V>,
    /// The heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: Vec<Option<V>>,
}

impl<V: Clone> Stack<V> {
    pub(super) fn new() -> Self {
        Self { values: Vec::new(), marks: Vec::new(), memo: Vec::new() }
    }

    pub(super) fn push(&mut self, value: V) -> Result<(), String> {
        if self.values.len() >= MAX_STACK {
            return Err(format!("more than {MAX_STACK} values on the stack"));
        }
        self.values.push(value);
        Ok(())
    }

    pub(super) fn mark(&mut self) -> Result<(), String> {
        if self.marks.len() == MAX_MARKS {
            return Err(format!("nested more than {MAX_MARKS} deep"));
        }
        self.marks.push(self.values.len());
        Ok(())
    }

    /// Takes the last MARK away; where the values above it begin.
    pub(super) fn unmark(&mut self) -> Result<usize, String> {
        self.marks.pop().ok_or_else(|| "needs a MARK".to_string())
    }

    /// Where the uppermost `count` values begin, which are above the last MARK.
    pub(super) fn below(&self, count: usize) -> Result<usize, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.values.len().checked_sub(count) {
            Some(from) if from >= floor => Ok(from),
            _ => Err("too few values on the stack".to_string()),
        }
    }

    /// Takes the values from this height on.
    pub(super) fn split(&mut self, from: usize) -> Vec<V> {
        self.values.split_off(from)
    }

    pub(super) fn pop(&mut self) -> Result<V, String> {
        let from = self.below(1)?;
        Ok(self.values.remove(from))
    }

    pub(super) fn top(&self) -> Result<&V, String> {
        let from = self.below(1)?;
        Ok(&self.values[from])
    }

    /// The only value, where nothing is left over.
    pub(super) fn only(&self) -> Result<&V, String> {
        match self.values.as_slice() {
            [value] if self.marks.is_empty() => Ok(value),
            values => Err(format!(
                "an unfinished pickle: {} on the stack and {} open marks",
                values.len(),
                self.marks.len()
            )),
        }
    }

    /// Notes the top under the next free number.
    pub(super) fn memoize(&mut self, at: u64) -> Result<(), String> {
        self.put(self.memo.len() as u64, at)
    }

    /// Notes the top under a number that a pickle may have used up to byte `at`.
    pub(super) fn put(&mut self, index: u64, at: u64) -> Result<(), String> {
        let value = self.top()?.clone();
        let limit = MAX_MEMO.min(FREE_MEMOS + at / BYTES_A_MEMO);
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

    pub(super) fn get(&mut self, index: u32) -> Result<(), String> {
        match self.memo.get(index as usize) {
            Some(Some(value)) => self.push(value.clone()),
            _ => Err(format!("object {index} of the memo, which is not there")),
        }
    }
}
