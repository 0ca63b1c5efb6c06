# Completion of ./inv and ortolan for bash: verbs, options, and the names of targets, models and devices.
#     source completions/ortolan.bash

_ortolan_recipes() { # the folder of the recipes of the project that the current folder belongs to
    local folder=$PWD
    while [[ -n $folder && ! -d $folder/recipes ]]; do folder=${folder%/*}; done
    printf '%s\n' "$folder/recipes"
}

_ortolan_names() { # the names of the recipes of one kind
    local file
    for file in "$(_ortolan_recipes)/$1"/*.toml; do
        [[ -e $file ]] && basename "$file" .toml
    done
}

_ortolan_hosts() { # the devices of the fleet and their labels
    local file
    file=$(_ortolan_recipes)/fleet.toml
    printf '%s\n' emulated
    [[ -e $file ]] || return 0
    printf '%s\n' all
    sed -n 's/^[[:space:]]*\[[[:space:]]*device\.["'\'']\{0,1\}\([A-Za-z0-9._-]*\)["'\'']\{0,1\}[[:space:]]*\].*/\1/p' "$file"
    awk '/^[ \t]*labels[ \t]*=/ { on = 1 } on { sub(/#.*/, ""); print } /\]/ { on = 0 }' "$file" | # an array may take several lines
        grep -o "[\"'][A-Za-z0-9._-]*[\"']" | tr -d "\"'" | sort -u
}

_ortolan_tags() { # the tags that are built
    local folder
    for folder in build/*/*/; do
        [[ -e $folder/manifest.json ]] && basename "$folder"
    done
}

_ortolan() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words
    [[ $word == -* ]] && before= # an option, whatever could stand there
    case $before in
        --target | -t) words=$(_ortolan_names targets) ;;
        --model | -m | coverage) # a recipe, or any file, in whatever folder
            words=$(_ortolan_names models)
            COMPREPLY=($(compgen -f -X '!*.onnx' -- "$word") $(compgen -d -- "$word"))
            ;;
        --host) words=$(_ortolan_hosts) ;;
        show) words=$(_ortolan_tags) ;;
        *) # Invoke knows the rest; it lists options once it has seen a dash
            words=("$(basename "${COMP_WORDS[0]}")" "${COMP_WORDS[@]:1:COMP_CWORD-1}")
            [[ $word == -* ]] && words+=("-")
            words=$("${COMP_WORDS[0]}" --complete -- "${words[@]}" 2>/dev/null)
            ;;
    esac
    COMPREPLY+=($(compgen -W "$words" -- "$word"))
}

complete -F _ortolan ./inv inv ortolan
