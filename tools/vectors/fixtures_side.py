def all_files():
    return {}
