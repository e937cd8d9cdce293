//! The activation buffers, one set for all programs: only one runs at a time.

use crate::device::{Buffer, Device};
use calotype_graph::Error;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// The buffers, each as large as the largest that any program wants in its place.
#[derive(Default)]
pub(crate) struct Arenas {
    buffers: RefCell<Vec<Rc<Buffer>>>,
    users: RefCell<Vec<Weak<User>>>,
}

/// A program's part in them.
pub(crate) struct User {
    /// The sizes that it needs.
    pub needs: Vec<u64>,
    /// Its bindings, one a launch, to the buffers that are there now; none where those have gone since.
    pub bindings: RefCell<Vec<wgpu::BindGroup>>,
}

impl Arenas {
    /// Has buffers in which a program that needs these sizes can run, and every program that is there already. Where that
    /// takes others than are there, the old ones go first, and with them what was bound to them.
    pub fn reserve(&self, device: &Device, needs: &[Vec<u64>]) -> Result<(), Error> {
        let users: Vec<Rc<User>> = self.users.borrow().iter().filter_map(Weak::upgrade).collect();
        let mut sizes: Vec<u64> = Vec::new();
        for needs in users.iter().map(|user| &user.needs).chain(needs) {
            sizes.resize(sizes.len().max(needs.len()), 0);
            sizes.iter_mut().zip(needs).for_each(|(size, need)| *size = Buffer::size_for(*need).max(*size));
        }
        if self.buffers.borrow().iter().map(|buffer| buffer.raw.size()).eq(sizes.iter().copied()) {
            return Ok(());
        }
        self.release();
        for bytes in sizes {
            let buffer = device.buffer("activations", bytes, wgpu::BufferUsages::STORAGE)?;
            self.buffers.borrow_mut().push(Rc::new(buffer));
        }
        Ok(())
    }

    /// Gives all buffers back. Programs bind themselves anew when they next run.
    pub fn release(&self) {
        let mut users = self.users.borrow_mut();
        users.retain(|user| user.strong_count() > 0);
        users.iter().filter_map(Weak::upgrade).for_each(|user| user.bindings.borrow_mut().clear());
        self.buffers.borrow_mut().clear();
    }

    /// Gives them back where no program is left that could run in them.
    pub fn trim(&self) {
        if self.users.borrow().iter().all(|user| user.strong_count() == 0) {
            self.release();
        }
    }

    /// A program that will run in them.
    pub fn user(&self, needs: Vec<u64>) -> Rc<User> {
        let user = Rc::new(User { needs, bindings: RefCell::default() });
        self.users.borrow_mut().push(Rc::downgrade(&user));
        user
    }

    /// A buffer.
    pub fn get(&self, index: usize) -> Rc<Buffer> {
        self.buffers.borrow()[index].clone()
    }
}
