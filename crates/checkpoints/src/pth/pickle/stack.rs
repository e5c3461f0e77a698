//! Reading the program, the stack, the memo, and errors.

use super::{Id, MAX_TEXT, MEMO, Machine, PLACE, VALUE, Value};
use crate::error::{Error, Result};

impl Machine<'_> {
    /// Takes bytes from the budget, before they are allocated.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<()> {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.ok_or_else(|| {
            self.refused("a pickle that builds far more than tensors need".into())
        })?;
        Ok(())
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.program.len());
        let end = end.ok_or_else(|| self.damaged("ends in the middle"))?;
        let taken = &self.program[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of up to eight bytes.
    pub(super) fn unsigned(&mut self, width: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// A byte string whose length stands before it in `width` bytes.
    pub(super) fn counted(&mut self, width: usize) -> Result<&[u8]> {
        let length = self.unsigned(width)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(super) fn skip_counted(&mut self, width: usize) -> Result<Value> {
        self.counted(width)?;
        Ok(Value::Plain)
    }

    pub(super) fn text(&mut self, width: usize) -> Result<Value> {
        let start = self.at;
        let bytes = self.counted(width)?;
        if bytes.len() > MAX_TEXT {
            return Ok(Value::Plain);
        }
        let text = std::str::from_utf8(bytes).map(|text| Value::Text(text.into()));
        let text = text.map_err(|_| self.damaged("a text that is not UTF-8"))?;
        // Its bytes, and the counters beside them.
        self.charge(self.at - start + 2 * size_of::<usize>())?;
        Ok(text)
    }

    /// LONG1: a whole number of any length; one beyond 64 bits has no meaning here.
    pub(super) fn long(&mut self) -> Result<Value> {
        let bytes = self.counted(1)?;
        if bytes.len() > 8 {
            return Ok(Value::Plain);
        }
        let fill = if bytes.last().is_some_and(|byte| *byte >= 0x80) {
            0xff
        } else {
            0
        };
        let mut whole = [fill; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        Ok(Value::Int(i64::from_le_bytes(whole)))
    }

    pub(super) fn line(&mut self) -> Result<String> {
        let rest = &self.program[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let length = length.ok_or_else(|| self.damaged("ends in the middle"))?;
        if length > MAX_TEXT {
            return Err(self.refused(format!("a name of {length} bytes")));
        }
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    pub(super) fn push(&mut self, value: Value) -> Result<()> {
        self.charge(VALUE)?;
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The height of the stack below which lies what the innermost open mark protects.
    pub(super) fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn top(&self) -> Result<Id> {
        let top = self.stack.get(self.floor()..).and_then(<[Id]>::last);
        top.copied()
            .ok_or_else(|| self.damaged("takes more than it has put down"))
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Id>> {
        let from = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|from| *from >= self.floor());
        let from = from.ok_or_else(|| self.damaged("takes more than it has put down"))?;
        self.charge(count * PLACE)?;
        Ok(self.stack.split_off(from))
    }

    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        let from = self
            .marks
            .pop()
            .ok_or_else(|| self.damaged("closes what it has not opened"))?;
        let from = from.min(self.stack.len());
        self.charge((self.stack.len() - from) * PLACE)?;
        Ok(self.stack.split_off(from))
    }

    pub(super) fn memoize(&mut self, key: u64) -> Result<bool> {
        let top = self.top()?;
        self.charge(MEMO)?;
        self.memo.insert(key, top);
        Ok(true)
    }

    pub(super) fn recall(&mut self, key: u64) -> Result<bool> {
        let id = self.memo.get(&key).copied();
        let id = id.ok_or_else(|| self.damaged("recalls what it has not kept"))?;
        self.charge(PLACE)?;
        self.stack.push(id);
        Ok(true)
    }

    pub(super) fn text_of(&self, id: Id) -> Result<String> {
        match &self.values[id] {
            Value::Text(text) => Ok(text.to_string()),
            _ => Err(self.damaged("a name that is no text")),
        }
    }

    pub(super) fn count(&self, id: Id) -> Result<usize> {
        match &self.values[id] {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
        .ok_or_else(|| self.damaged("a size that is no whole number from 0"))
    }

    pub(super) fn damaged(&self, detail: &str) -> Error {
        Error::damaged(
            self.path,
            format!("its pickle, near byte {}: {detail}", self.at),
        )
    }

    pub(super) fn refused(&self, what: String) -> Error {
        Error::refused(self.path, &what)
    }
}
