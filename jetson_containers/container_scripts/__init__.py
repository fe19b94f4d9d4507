"""Programs that run inside images, mounted read-only at `runtimes.base.DRIVERS`.

They need Python 3.8, the standard library and the packages of the runtime they drive; nothing of the rest of this
package, which is not there.
"""
