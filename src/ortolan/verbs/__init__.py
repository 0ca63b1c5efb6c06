"""What the verbs do: each calls Ortolan and prints. The command line imports only the module of the verb that was asked for."""
