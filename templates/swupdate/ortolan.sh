#!/bin/sh
# Started by SWUpdate with preinst before the files of a release are written, and with postinst after: ortolan-device puts the
# release into the spare slot, tests it and switches to it. On the device: ortolan-device in PATH, its root folder configured.
set -eu

release=@RELEASE@
case ${1:-} in
preinst)
    rm -rf "$release"
    mkdir -p "$release"
    ;;
postinst)
    ortolan-device install "$release"
    rm -rf "$release"
    ;;
esac
