"""Guests: starting, finding and destroying them."""

import time

from machine import GuestGone

CONFIG = """name = "{name}"
type = "{kind}"
kernel = "/guest/vmlinux"
ramdisk = "/guest/initrd"
memory = 160
vcpus = 1
{tsc}
extra = "console=hvc0 quiet loglevel=3 name={name}"
on_crash = "destroy"
on_reboot = "destroy"
on_poweroff = "destroy"
"""


class Guests:
    """All guests of a run, by name."""

    def __init__(self, machine, console):
        self.machine, self.console = machine, console
        self.crashes = 0
        self.ids = {"dom0": 0}
        self.kinds = {}

    def places(self):
        """dom0 and the running guests."""
        return [place for place in self.ids if place not in self.machine.gone]

    def domid(self, place):
        """The domain ID."""
        return self.ids[place]

    def need(self, **kinds):
        """Starts missing guests: need(pv1="pv"). One after another: on two cores that takes half as long."""
        for name, kind in kinds.items():
            if name not in self.ids or name in self.machine.gone:
                self._start(name, kind)

    def crashed_by_emulation(self):
        """Whether Xen reported another triple fault. Emulated PVH guests have them occasionally, caused by the emulator;
        any other end of a guest is a failure."""
        with open(self.console, encoding="utf-8", errors="replace") as console:
            before, self.crashes = self.crashes, console.read().count("Triple fault")
        return self.crashes > before

    def _start(self, name, kind):
        try:
            self._start_once(name, kind)
        except GuestGone as gone:
            if not self.crashed_by_emulation():
                raise
            print(f"# RETRIED the start of {name}: {gone}, by a triple fault of the emulated processor", flush=True)
            self._start_once(name, kind)

    def _start_once(self, name, kind):
        begun = time.monotonic()
        self.machine.forget(name)
        self.kinds[name] = kind
        # Emulated time stamps make a PVH guest very slow.
        config = CONFIG.format(name=name, kind=kind, tsc='tsc_mode = "native"' if kind == "pvh" else "")
        lines = " ".join(f"'{line}'" for line in config.splitlines())
        self.machine.output("dom0", f"printf '%s\\n' {lines} >/run/{name}.cfg")
        # No -e: xl keeps running to destroy a guest that crashes, so that its console reports the end.
        self.machine.output("dom0", f"xl -t create -q /run/{name}.cfg >/run/{name}.log 2>&1 || {{ cat /run/{name}.log; exit 1; }}")
        domid = int(self.machine.output("dom0", f"xl domid {name}"))
        tty = self.machine.output("dom0", f"until xenstore-read /local/domain/{domid}/console/tty; do :; done")
        self.machine.start("dom0", "console", f"{name} {tty.split()[-1]}").must_end()
        self.ids[name] = domid
        if not self.machine.until(lambda: name in self.machine.ready, 240, name):
            raise GuestGone(f"{name} did not start")
        print(f"# {name} ({kind}) is domain {domid}, up after {time.monotonic() - begun:.1f} s", flush=True)

    def destroy(self, name):
        """Destroys a guest, like a crash. It is not restarted."""
        del self.kinds[name]
        return self.machine.run("dom0", f"xl destroy {name}")

    def restart_gone(self):
        """Restarts the guests that are gone; returns their names."""
        names = [name for name in self.kinds if name in self.machine.gone]
        self.need(**{name: self.kinds[name] for name in names})
        return names
