//! The part of the pickle language that dictionaries of tensors are written in.
//!
//! Accepted are plain data, `collections.OrderedDict`, `torch._utils._rebuild_tensor_v2`,
//! `torch._utils._rebuild_parameter` and the storage classes of `torch`. They are recognised by
//! name and stand for data here; nothing is looked up or called.
//!
//! What a pickle builds is charged to a budget in bytes, [`FACTOR`] for each byte of the pickle and
//! [`MOST`] at most: a checkpoint of thousands of tensors takes about 25. Past it the pickle is
//! refused.

mod stack;

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use crate::error::{Error, Result};

/// A tensor as the pickle describes it.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    pub(super) storage: Rc<Storage>,
    /// First element within the storage.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// Per axis, in elements.
    pub(super) strides: Vec<usize>,
}

/// A storage that the pickle refers to.
#[derive(Debug, Clone)]
pub(super) struct Storage {
    /// The class in `torch`, e.g. `FloatStorage`.
    pub(super) class: &'static str,
    /// The name of its member in the archive.
    pub(super) key: Rc<str>,
}

/// Where a value lies among all values. Values refer to one another by it, so that what a hostile
/// file nests deeply costs no deep recursion here.
type Id = usize;

#[derive(Debug)]
enum Value {
    /// Data without a meaning here: None, floats, byte strings.
    Plain,
    Bool(bool),
    Int(i64),
    Text(Rc<str>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Known(Known),
    Storage(Rc<Storage>),
    Tensor(Rc<Tensor>),
}

/// A name that is accepted.
#[derive(Debug, Clone, Copy)]
enum Known {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    StorageClass(&'static str),
}

const STORAGES: [&str; 10] = [
    "FloatStorage",
    "HalfStorage",
    "BFloat16Storage",
    "DoubleStorage",
    "LongStorage",
    "IntStorage",
    "ShortStorage",
    "CharStorage",
    "ByteStorage",
    "BoolStorage",
];

/// Dictionaries within dictionaries are followed so deep.
const MAX_DEPTH: usize = 32;
/// Bytes that may be charged for each byte of the pickle, beyond [`BASE`].
const FACTOR: usize = 64;
/// Bytes that may be charged for a pickle of any length.
const BASE: usize = 64 << 10;
/// Bytes that may be charged at most.
const MOST: usize = 64 << 20;
/// Charged for a place on the stack, for a mark and for an entry of a tuple, list or dictionary.
/// Vectors grow to twice their length.
const PLACE: usize = 2 * size_of::<Id>();
/// Charged for a value.
const VALUE: usize = 2 * size_of::<Value>() + PLACE;
/// Charged for an entry of the memo.
const MEMO: usize = 48;
/// Charged for a tensor, and for each name that one is found by: what the checkpoint keeps of it.
const TENSOR: usize = 256;
/// A longer text names nothing here.
const MAX_TEXT: usize = 512;
/// Axes of a tensor, and arguments of a call.
const MAX_ITEMS: usize = 16;

/// The tensors in the dictionary that `program` describes, keys joined by `.`; other entries are
/// left out.
pub(super) fn tensors(path: &Path, program: &[u8]) -> Result<Vec<(String, Rc<Tensor>)>> {
    let mut machine = Machine::new(path, program);
    let root = machine.run()?;
    let Value::Dict(_) = &machine.values[root] else {
        return Err(Error::refused(
            path,
            "a value that is no dictionary of tensors",
        ));
    };
    machine.flatten(root)
}

struct Machine<'p> {
    path: &'p Path,
    program: &'p [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Bytes that may still be charged.
    budget: usize,
}

impl<'p> Machine<'p> {
    fn new(path: &'p Path, program: &'p [u8]) -> Self {
        Self {
            path,
            program,
            at: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget: program
                .len()
                .saturating_mul(FACTOR)
                .saturating_add(BASE)
                .min(MOST),
        }
    }

    /// Runs to the end and gives the value that is left.
    fn run(&mut self) -> Result<Id> {
        loop {
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            if !(self.data(opcode)? || self.structure(opcode)?) {
                let name = name_of(opcode);
                return Err(self.refused(format!("the opcode {name} at byte {}", self.at - 1)));
            }
        }
    }

    /// Opcodes that push something or use the memo.
    fn data(&mut self, opcode: u8) -> Result<bool> {
        let value = match opcode {
            // PROTO and FRAME frame the program, they say nothing.
            0x80 => return self.take(1).map(|_| true),
            0x95 => return self.take(8).map(|_| true),
            b'q' => {
                let key = self.unsigned(1)?;
                return self.memoize(key);
            }
            b'r' => {
                let key = self.unsigned(4)?;
                return self.memoize(key);
            }
            0x94 => return self.memoize(self.memo.len() as u64),
            b'h' => {
                let key = self.unsigned(1)?;
                return self.recall(key);
            }
            b'j' => {
                let key = self.unsigned(4)?;
                return self.recall(key);
            }
            b'N' => Value::Plain,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(self.unsigned(1)? as i64),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            b'J' => Value::Int(i64::from(self.unsigned(4)? as u32 as i32)),
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                Value::Plain
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            // Byte strings: BINBYTES, SHORT_BINBYTES, BINBYTES8, BINSTRING, SHORT_BINSTRING.
            b'B' | b'T' => self.skip_counted(4)?,
            b'C' | b'U' => self.skip_counted(1)?,
            0x8e => self.skip_counted(8)?,
            b'}' => Value::Dict(Vec::new()),
            b']' => Value::List(Vec::new()),
            b')' => Value::Tuple(Vec::new()),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Value::Known(self.known(&module, &name)?)
            }
            _ => return Ok(false),
        };
        self.push(value)?;
        Ok(true)
    }

    /// Opcodes that put together what lies on the stack.
    fn structure(&mut self, opcode: u8) -> Result<bool> {
        match opcode {
            b'(' => {
                self.charge(PLACE)?;
                self.marks.push(self.stack.len());
            }
            b'0' => {
                self.pop()?;
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let items = self.pop_many(count)?;
                self.push(Value::Tuple(items))?;
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items))?;
            }
            b'l' => {
                let items = self.pop_to_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&items)?;
            }
            b'a' => {
                let items = self.pop_many(1)?;
                self.append(items)?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set_items(&items)?;
            }
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            b'R' => self.reduce()?,
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (module, name) = (self.text_of(module)?, self.text_of(name)?);
                let known = self.known(&module, &name)?;
                self.push(Value::Known(known))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn known(&self, module: &str, name: &str) -> Result<Known> {
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Known::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Known::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Known::RebuildParameter),
            ("torch", class) => STORAGES
                .into_iter()
                .find(|known| *known == class)
                .map(Known::StorageClass)
                .ok_or_else(|| self.unknown(module, name)),
            _ => Err(self.unknown(module, name)),
        }
    }

    fn unknown(&self, module: &str, name: &str) -> Error {
        self.refused(format!("`{}`", format!("{module}.{name}").escape_debug()))
    }

    /// REDUCE: what a call of one of the accepted names would give.
    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = match &self.values[arguments] {
            Value::Tuple(items) if items.len() <= MAX_ITEMS => items.clone(),
            _ => return Err(self.damaged("a call without proper arguments")),
        };
        let value = match &self.values[function] {
            Value::Known(Known::OrderedDict) if arguments.is_empty() => Value::Dict(Vec::new()),
            Value::Known(Known::RebuildTensor) => {
                self.charge(TENSOR)?;
                Value::Tensor(Rc::new(self.tensor(&arguments)?))
            }
            Value::Known(Known::RebuildParameter) => {
                match arguments.first().map(|&id| &self.values[id]) {
                    Some(Value::Tensor(tensor)) => Value::Tensor(Rc::clone(tensor)),
                    _ => return Err(self.damaged("a parameter without a tensor")),
                }
            }
            _ => return Err(self.refused("a call of something that is no function".into())),
        };
        self.push(value)
    }

    /// Arguments: storage, offset, shape, strides, and what is of no use here.
    fn tensor(&self, arguments: &[Id]) -> Result<Tensor> {
        let value = |index: usize| arguments.get(index).map(|&id| &self.values[id]);
        let axes = |index: usize| match value(index) {
            Some(Value::Tuple(items)) if items.len() <= MAX_ITEMS => {
                items.iter().map(|&id| self.count(id)).collect()
            }
            _ => Err(self.damaged("a tensor without a proper shape")),
        };
        match (value(0), arguments.get(1)) {
            (Some(Value::Storage(storage)), Some(&offset)) => Ok(Tensor {
                storage: Rc::clone(storage),
                offset: self.count(offset)?,
                shape: axes(2)?,
                strides: axes(3)?,
            }),
            _ => Err(self.damaged("a tensor without a storage")),
        }
    }

    /// BINPERSID: `("storage", class, key, device, elements)`.
    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let items: Vec<_> = match &self.values[id] {
            Value::Tuple(items) => items.iter().take(3).map(|&id| &self.values[id]).collect(),
            _ => Vec::new(),
        };
        let storage = match items.as_slice() {
            [
                Value::Text(kind),
                Value::Known(Known::StorageClass(class)),
                Value::Text(key),
            ] if **kind == *"storage" => Storage {
                class,
                key: Rc::clone(key),
            },
            _ => return Err(self.refused("a reference to something that is no storage".into())),
        };
        self.charge(size_of::<Storage>())?;
        self.push(Value::Storage(Rc::new(storage)))
    }

    /// BUILD: a state dict carries version numbers as attributes of its OrderedDict; they are
    /// dropped.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        match (&self.values[target], &self.values[state]) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            _ => Err(self.refused("the opcode BUILD on something that is no dictionary".into())),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let target = self.top()?;
        let complete = items.len().is_multiple_of(2);
        self.charge(items.len() * PLACE)?;
        match &mut self.values[target] {
            Value::Dict(entries) if complete => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err(self.damaged("items for something that is no dictionary")),
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let target = self.top()?;
        self.charge(items.len() * PLACE)?;
        match &mut self.values[target] {
            Value::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self.damaged("items for something that is no list")),
        }
    }

    /// All tensors below `root`.
    fn flatten(&mut self, root: Id) -> Result<Vec<(String, Rc<Tensor>)>> {
        let mut found = Vec::new();
        let mut open = vec![(String::new(), root, 0)];
        while let Some((prefix, id, depth)) = open.pop() {
            match &self.values[id] {
                Value::Tensor(tensor) => {
                    found.push((prefix, Rc::clone(tensor)));
                    self.charge(TENSOR)?;
                }
                Value::Dict(entries) => {
                    // One dictionary may be referred to many times, so its entries are charged each
                    // time.
                    let mut charged = 0;
                    for &(key, value) in entries {
                        let Some(key) = self.key(key) else { continue };
                        let name = if depth == 0 {
                            key
                        } else {
                            format!("{prefix}.{key}")
                        };
                        charged += name.len() + 2 * size_of::<(String, Id, usize)>();
                        if depth == MAX_DEPTH || charged > self.budget {
                            return Err(self.refused("dictionaries without end".into()));
                        }
                        open.push((name, value, depth + 1));
                    }
                    self.charge(charged)?;
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The name of an entry; `None` for keys that are neither texts nor whole numbers.
    fn key(&self, id: Id) -> Option<String> {
        match &self.values[id] {
            Value::Text(text) => Some(text.to_string()),
            Value::Int(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        }
    }
}

/// The name of an opcode that is not accepted.
fn name_of(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT",
        0x8b => "LONG4",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        _ => return format!("0x{opcode:02x}"),
    };
    name.to_owned()
}
