# Completion of ./inv and ortolan for bash: verbs, options, and the names of targets and models.
#     source completions/ortolan.bash

_ortolan_names() { # the names of the recipes of one kind, from the project that the current folder belongs to
    local folder=$PWD file
    while [[ -n $folder && ! -d $folder/recipes ]]; do folder=${folder%/*}; done
    for file in "$folder/recipes/$1"/*.toml; do
        [[ -e $file ]] && basename "$file" .toml
    done
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
