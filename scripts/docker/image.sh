# shellcheck shell=bash
# What the stages start from: the image, and Debian 13 under the name that registries have it by.

# A root of Debian 13 as a tar, made once, named in ROOT.
debian_root() {
  local made mirror
  ROOT=$CACHE/debian-13.tar
  [ -f "$ROOT" ] && return
  made=$WORK/debian-13 mirror=$(debian_mirror)
  say "a root of Debian 13 by debootstrap"
  debootstrap --variant=minbase trixie "$made" "$mirror" >"$WORK/debootstrap.log" 2>&1 ||
    { tail -5 "$WORK/debootstrap.log"; return 1; }
  # As the image of that name has it.
  rm -f "$made/etc/apt/sources.list"
  printf '%s\n' 'Types: deb' "URIs: $mirror" 'Suites: trixie trixie-updates' 'Components: main' \
    'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' >"$made/etc/apt/sources.list.d/debian.sources"
  tar -C "$made" -c . >"$ROOT.part" && mv "$ROOT.part" "$ROOT"
  rm -rf "$made"
}

# One package of the toolchain in the form in which rustup fetches it.
pack() { # COMPONENT
  local name=$1-$version-$triple inner=$1 listed=$1-$triple folder
  if [ "$1" = rust-std ]; then inner=$listed; fi
  folder=$WORK/pack/$name
  mkdir -p "$folder/$inner"
  cp "$toolchain/lib/rustlib/manifest-$listed" "$folder/$inner/manifest.in"
  sed -n 's/^file://p; s/^dir://p' "$folder/$inner/manifest.in" |
    tar -C "$toolchain" -c -T - | tar -C "$folder/$inner" -x
  echo "$inner" >"$folder/components"
  echo 3 >"$folder/rust-installer-version"
  tar -C "$WORK/pack" -c "$name" | gzip -1 >"$dist/$name.tar.gz"
  rm -r "$folder"
  printf '[pkg.%s]\nversion = "%s"\n[pkg.%s.target.%s]\navailable = true\nurl = "%s"\nhash = "%s"\n' \
    "$1" "$version" "$1" "$triple" "http://$MIRRORS/rustup/dist/$name.tar.gz" "$(sha256sum <"$dist/$name.tar.gz" | cut -d' ' -f1)"
}

# A server of rustup's with the compiler of this machine: the real one is out of reach of an engine without a network.
rustup_mirror() {
  local toolchain version triple dist component manifest
  toolchain=$(rustc --print sysroot)
  version=$(rustc --version | cut -d' ' -f2)
  triple=$(rustc -vV | sed -n 's/^host: //p')
  dist=$CACHE/rustup-$version/dist
  manifest=$dist/channel-rust-$version.toml
  [ -f "$manifest.sha256" ] && return
  rm -rf "$dist"
  mkdir -p "$dist"
  {
    printf 'manifest-version = "2"\ndate = "2020-01-01"\n[profiles]\nminimal = ["rustc", "cargo", "rust-std"]\n'
    printf '[pkg.rust]\nversion = "%s"\n[pkg.rust.target.%s]\navailable = true\nurl = ""\nhash = ""\n' "$version" "$triple"
    for component in rustc cargo rust-std; do
      printf '[[pkg.rust.target.%s.components]]\npkg = "%s"\ntarget = "%s"\n' "$triple" "$component" "$triple"
    done
    for component in rustc cargo rust-std; do pack "$component"; done
  } >"$manifest"
  (cd "$dist" && sha256sum "${manifest##*/}" >"$manifest.sha256")
}
